"""``edge-gateway device``: all that is known of one device."""

from argparse import ArgumentParser, Namespace
from typing import Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config, add_json, catalogue_of
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
    from gateway.adapters.sqlite import DATABASE_FILE
    from gateway.adapters.sqlite_reader import open_read_only
    from gateway.cli.read_side import current_cache
    from gateway.settings_loader import load_settings

    settings = load_settings(options.config).settings
    catalogue = catalogue_of(settings)
    with open_read_only(settings.gateway.state_dir / DATABASE_FILE) as log:
        cache = current_cache(settings, catalogue, log)
    found = [cache.get(decider.collection, options.device) for decider in catalogue]
    documents = [document for document in found if document is not None]
    for document in documents:
        if options.json:
            print_json(document)
        else:
            print_fields(document)
    if not documents:
        note(f"unknown device: {options.device}")
    return Exit.OK if documents else Exit.NO
