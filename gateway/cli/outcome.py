"""``edge-gateway outcome``: what became of a command."""

from argparse import ArgumentParser, Namespace
from typing import Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config, add_json
from gateway.cli.output import note, print_fields, print_json

SUMMARY: Final = "tell what became of a command"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("command_id", metavar="COMMAND_ID", help="the id that its sender gave it")
    parser.add_argument("--device", metavar="DEVICE", help="only of a command for this device")
    add_config(parser)
    add_json(parser)


def execute(options: Namespace) -> Exit:
    """Print every verdict that was given under this id: several actors may have used the same one.

    Raises:
        SettingsError: the settings cannot be used.
        StateError: there is no log, or it cannot be read.
    """
    from gateway.acks import verdict_body
    from gateway.cli.read_side import open_read_side

    with open_read_side(options.config) as side:
        verdicts = side.log.find_by_command_id(options.command_id)
    wanted = [verdict for verdict in verdicts if options.device in {None, verdict.device}]
    for index, verdict in enumerate(wanted):
        if options.json:
            print_json(verdict_body(verdict))
        else:
            if index:
                print()
            print_fields(verdict_body(verdict))
    if not wanted:
        note(f"unknown: {options.command_id}")
    return Exit.OK if wanted else Exit.NO
