"""``edge-gateway state``: what a device was like at some time."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Final

from gateway.cli.asking import add_source, asking
from gateway.cli.exit_status import Exit
from gateway.cli.options import add_field, add_json, moment, name
from gateway.cli.output import print_fields, print_json

if TYPE_CHECKING:
    from gateway.cli.asking import Questions

SUMMARY: Final = "show the state of a device as it was"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("device", type=name, metavar="DEVICE", help="id of the device")
    parser.add_argument("--at", type=moment, required=True, metavar="REVISION|TIME", help="after it, or at it")
    add_field(parser)
    add_json(parser)
    add_source(parser)


def execute(options: Namespace) -> Exit:
    """Print its state. What it raises: see :func:`~gateway.cli.asking.asking`."""
    return asking(options, _show)


async def _show(questions: "Questions", options: Namespace) -> Exit:
    wanted = {"fields": options.field} if options.field else {}
    answer = await questions.ask("state_at", {"device": options.device, "at": options.at, **wanted})
    (print_json if options.json else print_fields)(answer.result)
    return Exit.OK
