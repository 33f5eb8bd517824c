"""``edge-gateway broker-certificate``: a certificate for the broker, and the authority behind every certificate."""

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from typing import Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import MOST_DAYS, add_authority, add_config, add_mosquitto, need_certificates, within
from gateway.cli.output import note
from gateway.errors import EnrolmentError

SUMMARY: Final = "make the broker's certificate, at first with an authority that signs it"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("hosts", nargs="+", metavar="HOST", help="name or address under which devices reach the broker")
    parser.add_argument(
        "--days", type=within(1, MOST_DAYS), default=1_825, help="it is valid for (default: %(default)s)"
    )
    add_authority(parser)
    add_mosquitto(parser)
    add_config(parser)


def execute(options: Namespace) -> Exit:
    """Make it, and put it where mosquitto reads it.

    Raises:
        SettingsError: the settings cannot be used, or the library for certificates is missing.
        EnrolmentError: a host is none, the authority is damaged, or the broker trusts another.
    """
    need_certificates()
    from gateway.adapters.authority_dir import AuthorityDir, pem, pem_of_key
    from gateway.broker_drop_in import BrokerPlaces
    from gateway.certificates import issue_for_broker, new_key
    from gateway.cli.mosquitto_files import install
    from gateway.settings_loader import load_settings

    settings = load_settings(options.config).settings
    now, key, places = datetime.now(UTC), new_key(), BrokerPlaces(options.mosquitto)
    directory = AuthorityDir(options.ca)
    directory.found(f"edge-gateway {settings.gateway.id}", now)
    with directory.claim():
        if places.authority.exists() and not directory.is_trusted_in(places.authority):
            raise EnrolmentError(
                f"{places.authority} is not of the authority in {options.ca}: all whom it signed would be refused; "
                "move it away if that is meant"
            )
        authority = directory.authority()
        certificate = issue_for_broker(authority, options.hosts, key.public_key(), now, options.days)
        directory.record(certificate)
        install(places.authority, pem(authority.certificate), is_public=True)
        install(places.revoked, directory.revoked.read_bytes(), is_public=True)
        install(places.key, pem_of_key(key))
        install(places.certificate, pem(certificate), is_public=True)
    note(f"written to {places.certificates}; valid until {certificate.not_valid_after_utc:%Y-%m-%d}")
    note("the broker uses it once it has read it: systemctl reload mosquitto")
    return Exit.OK
