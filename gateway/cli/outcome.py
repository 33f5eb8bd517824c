"""``edge-gateway outcome``: what became of a command."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Final

from gateway.cli.asking import add_source, asking, pages
from gateway.cli.exit_status import Exit
from gateway.cli.options import add_json, name
from gateway.cli.output import note, print_fields, print_json

if TYPE_CHECKING:
    from gateway.cli.asking import Questions

SUMMARY: Final = "tell what became of a command"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("command_id", metavar="COMMAND_ID", help="the id that its sender gave it")
    parser.add_argument("--by", type=name, metavar="ACTOR", help="only of a command that this actor sent")
    parser.add_argument("--device", type=name, metavar="DEVICE", help="only of a command for this device")
    add_json(parser)
    add_source(parser)


def execute(options: Namespace) -> Exit:
    """Print every verdict that was given under this id: several actors may have used the same one.

    What it raises: see :func:`~gateway.cli.asking.asking`.
    """
    return asking(options, _show)


async def _show(questions: "Questions", options: Namespace) -> Exit:
    given = {"command_id": options.command_id, "actor": options.by, "device": options.device}
    asked = {parameter: value for parameter, value in given.items() if value is not None}
    found = False
    async for answer in pages(questions, "outcome", asked):
        for verdict in answer.result:
            if options.json:
                print_json(verdict)
            else:
                if found:
                    print()
                print_fields(verdict)
            found = True
    if not found:
        note(f"unknown: {options.command_id}")
    return Exit.OK if found else Exit.NO
