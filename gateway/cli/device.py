"""``edge-gateway device``: all that is known of one device."""

from argparse import ArgumentParser, Namespace
from typing import Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config, add_json
from gateway.cli.output import note, print_fields, print_json

SUMMARY: Final = "show all that is known of a device"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("device", metavar="DEVICE", help="id of the device")
    add_config(parser)
    add_json(parser)


def execute(options: Namespace) -> Exit:
    """Print its document of the read side.

    Raises:
        SettingsError: the settings cannot be used.
        StateError: there is no log, or it cannot be read.
    """
    from gateway.cli.read_side import open_read_side

    with open_read_side(options.config) as side:
        cache = side.current_cache()
    found = [cache.get(decider.collection, options.device) for decider in side.catalogue]
    documents = [document for document in found if document is not None]
    for document in documents:
        if options.json:
            print_json(document)
        else:
            print_fields(document)
    if not documents:
        note(f"unknown device: {options.device}")
    return Exit.OK if documents else Exit.NO
