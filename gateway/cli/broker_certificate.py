"""``edge-gateway broker-certificate``: a certificate for the broker, and the authority behind every certificate."""

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from typing import Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_authority, add_config, add_mosquitto, at_least, need_certificates
from gateway.cli.output import note

SUMMARY: Final = "make the broker's certificate, at first with an authority that signs it"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("hosts", nargs="+", metavar="HOST", help="name or address under which devices reach the broker")
    parser.add_argument("--days", type=at_least(1), default=1_825, help="it is valid for (default: %(default)s)")
    add_authority(parser)
    add_mosquitto(parser)
    add_config(parser)


def execute(options: Namespace) -> Exit:
    """Make it, and put it where mosquitto reads it.

    Raises:
        SettingsError: the settings cannot be used, or the library for certificates is missing.
        EnrolmentError: a host is none, or the authority is damaged.
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
        authority = directory.authority()
        certificate = issue_for_broker(authority, options.hosts, key.public_key(), now, options.days)
        directory.record(certificate)
        places.certificates.mkdir(parents=True, exist_ok=True)
        install(places.authority, pem(authority.certificate))
        install(places.revoked, directory.revoked.read_bytes())
        install(places.key, pem_of_key(key))
        install(places.certificate, pem(certificate))
    note(f"written to {places.certificates}; valid until {certificate.not_valid_after_utc:%Y-%m-%d}")
    note("the broker uses it once it has read it: systemctl reload mosquitto")
    return Exit.OK
