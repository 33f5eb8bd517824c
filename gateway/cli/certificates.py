"""``edge-gateway certificates``: what was issued, how long it is valid, and what has to be done."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import MOST_DAYS, add_authority, add_json, add_mosquitto, need_certificates, within
from gateway.cli.output import note, print_json, print_table, shown

if TYPE_CHECKING:
    from gateway.adapters.authority_dir import AuthorityDir, Issued
    from gateway.broker_drop_in import BrokerPlaces

SUMMARY: Final = "list certificates with their expiry, and warn of what expires soon"

_COLUMNS: Final = ("name", "status", "expires_at", "serial", "hosts")


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.epilog = "Exit status: 0 all is well, 1 something has to be done."
    parser.add_argument(
        "--days", type=within(0, MOST_DAYS), default=30, help="warn so long before (default: %(default)s)"
    )
    add_authority(parser)
    add_mosquitto(parser)
    add_json(parser)


def execute(options: Namespace) -> Exit:
    """Print them, by name and age.

    Raises:
        SettingsError: the library for certificates is missing.
        EnrolmentError: there is no authority, or a file is damaged.
    """
    need_certificates()
    from gateway.adapters.authority_dir import AuthorityDir, Issued
    from gateway.broker_drop_in import BrokerPlaces

    now, directory = datetime.now(UTC), AuthorityDir(options.ca)
    everything = [Issued(directory.root(), is_revoked=False), *directory.issued()]
    lines = [_line(one, now) for one in everything]
    if options.json:
        for line in lines:
            print_json(line)
    else:
        print_table(
            [column.replace("_", " ") for column in _COLUMNS], [[shown(one) for one in line.values()] for line in lines]
        )
    warnings = [
        *_expiring(everything, now, timedelta(days=options.days)),
        *_unread(directory, BrokerPlaces(options.mosquitto)),
    ]
    for warning in warnings:
        note(f"warning: {warning}")
    return Exit.NO if warnings else Exit.OK


def _line(one: "Issued", now: datetime) -> dict[str, Any]:
    from gateway.certificates import hosts_of, name_of

    status = "revoked" if one.is_revoked else "valid" if one.is_valid(now) else "expired"
    certificate = one.certificate
    serial = f"{certificate.serial_number:x}"
    values = (name_of(certificate), status, certificate.not_valid_after_utc, serial, " ".join(hosts_of(certificate)))
    return dict(zip(_COLUMNS, values, strict=True))


def _expiring(issued: Iterable["Issued"], now: datetime, notice: timedelta) -> Iterator[str]:
    """Of each name, what holds longest."""
    from gateway.certificates import name_of

    ends: dict[str, datetime] = {}
    for one in issued:
        if not one.is_revoked:
            name, end = name_of(one.certificate), one.certificate.not_valid_after_utc
            ends[name] = max(end, ends.get(name, end))
    for name, end in ends.items():
        if end <= now + notice:
            yield f"{name}: {'has expired' if end <= now else 'expires'} on {end:%Y-%m-%d}"


def _unread(directory: "AuthorityDir", places: "BrokerPlaces") -> Sequence[str]:
    if not directory.is_trusted_in(places.authority) or places.revoked.read_bytes() == directory.revoked.read_bytes():
        return ()
    return (f"{places.revoked} is not the list in {directory.revoked}: the broker may let in what was revoked",)
