"""``edge-gateway enrol``: a certificate with which a device, or an operator from elsewhere, is known to the broker."""

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import MOST_DAYS, add_authority, add_config, name, need_certificates, within
from gateway.cli.output import note
from gateway.errors import EnrolmentError

if TYPE_CHECKING:
    from gateway.adapters.authority_dir import AuthorityDir
    from gateway.settings import Settings

SUMMARY: Final = "make a certificate for a device or an operator"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("name", type=name, metavar="NAME", help="of the device: its user name, and the actor in topics")
    parser.add_argument("--days", type=within(1, MOST_DAYS), default=730, help="it is valid for (default: %(default)s)")
    parser.add_argument(
        "--operator", action="store_true", help="the name is an operator's in the settings, and that is meant"
    )
    parser.add_argument("--renew", action="store_true", help="although one is valid still; that one stays valid")
    parser.add_argument("--out", type=Path, metavar="PATH", help="directory for its files (default: ./NAME)")
    parser.add_argument(
        "--request", type=Path, metavar="PATH", help="a certificate request in PEM: the key stays where that was made"
    )
    add_authority(parser)
    add_config(parser)


def execute(options: Namespace) -> Exit:
    """Make it, and write what the device needs.

    Raises:
        SettingsError: the settings cannot be used, or the library for certificates is missing.
        EnrolmentError: this name may have none, or has one, or there is no authority.
    """
    need_certificates()
    from gateway.adapters.authority_dir import PRIVATE, PUBLIC, AuthorityDir, pem, pem_of_key
    from gateway.adapters.whole_file import replace_file
    from gateway.certificates import issue_for_device, new_key, requested_key
    from gateway.settings_loader import load_settings

    _check_name(options.name, load_settings(options.config).settings, is_operator=options.operator)
    now, directory = datetime.now(UTC), AuthorityDir(options.ca)
    out: Path = options.out or Path(options.name)
    with directory.claim():
        key = None if options.request else new_key()
        public = key.public_key() if key else requested_key(options.request.read_bytes())
        if not options.renew:
            _check_new(directory, options.name, now)
        authority = directory.authority()
        certificate = issue_for_device(authority, options.name, public, now, options.days)
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.record(certificate)
        if key:
            replace_file(out / "key.pem", (pem_of_key(key),), PRIVATE)
        replace_file(out / "cert.pem", (pem(certificate),), PUBLIC)
        replace_file(out / "ca.pem", (pem(authority.certificate),), PUBLIC)
    note(f"written to {out}; valid until {certificate.not_valid_after_utc:%Y-%m-%d}")
    if key:
        note(f"move {out} to where it is used, and leave no copy of key.pem: whoever has it is {options.name}")
    return Exit.OK


def _check_name(name: str, settings: "Settings", *, is_operator: bool) -> None:
    from gateway.access import Access, OperatorRule
    from gateway.broker_acl import HOMEASSISTANT

    if name == settings.gateway.id:
        raise EnrolmentError(f"{name} is the gateway's own name, which no device may have")
    access = Access([OperatorRule(rule.actors, rule.devices, rule.commands) for rule in settings.operators])
    known = bool(access.devices_of(name)) or (settings.homeassistant.enabled and name == HOMEASSISTANT)
    if known and not is_operator:
        raise EnrolmentError(f"{name} is an operator in the settings: say --operator if that is meant")
    if is_operator and not known:
        raise EnrolmentError(f"{name} is no operator in the settings")


def _check_new(directory: "AuthorityDir", name: str, now: datetime) -> None:
    valid = [one.certificate.not_valid_after_utc for one in directory.issued(name) if one.is_valid(now)]
    if valid:
        raise EnrolmentError(
            f"{name} has a certificate until {max(valid):%Y-%m-%d}: --renew makes another beside it, "
            f"edge-gateway revoke {name} ends it"
        )
