"""``edge-gateway revoke``: end every certificate of a device."""

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from typing import Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_authority, add_mosquitto, name, need_certificates
from gateway.cli.output import note
from gateway.errors import EnrolmentError

SUMMARY: Final = "end every certificate of a device or an operator"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("name", type=name, metavar="NAME", help="of the device")
    add_authority(parser)
    add_mosquitto(parser)


def execute(options: Namespace) -> Exit:
    """Put them on the list of revoked ones, and the list where mosquitto reads it.

    Raises:
        SettingsError: the library for certificates is missing.
        EnrolmentError: it never had one, or there is no authority.
    """
    need_certificates()
    from gateway.adapters.authority_dir import AuthorityDir
    from gateway.broker_drop_in import BrokerPlaces
    from gateway.cli.mosquitto_files import install

    directory, places = AuthorityDir(options.ca), BrokerPlaces(options.mosquitto)
    with directory.claim():
        if not directory.issued(options.name):
            raise EnrolmentError(f"{options.name} has never had a certificate of the authority in {options.ca}")
        count = directory.revoke(options.name, datetime.now(UTC))
        note(f"revoked: {count} of {options.name}")
        # again, also where nothing is new: the last time it may not have come so far
        if directory.is_trusted_in(places.authority):
            install(places.revoked, directory.revoked.read_bytes(), is_public=True)
            note("the broker refuses them once it has read the list: systemctl reload mosquitto")
        else:
            note(
                f"no broker in {options.mosquitto} trusts this authority: copy {directory.revoked} to the one that does"
            )
    note("a connection that stands goes on: systemctl restart mosquitto ends it")
    return Exit.OK
