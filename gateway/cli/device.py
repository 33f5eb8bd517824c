"""``edge-gateway device``: all that is known of one device."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Final

from gateway.cli.asking import add_source, asking
from gateway.cli.exit_status import Exit
from gateway.cli.options import add_field, add_json, add_projection, name
from gateway.cli.output import print_fields, print_json

if TYPE_CHECKING:
    from gateway.cli.asking import Questions

SUMMARY: Final = "show all that is known of a device"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("device", type=name, metavar="DEVICE", help="id of the device")
    add_field(parser)
    add_json(parser)
    add_projection(parser)
    add_source(parser)


def execute(options: Namespace) -> Exit:
    """Print its document. What it raises: see :func:`~gateway.cli.asking.asking`."""
    return asking(options, _show)


async def _show(questions: "Questions", options: Namespace) -> Exit:
    given = {"projection": options.projection, "fields": options.field}
    wanted = {parameter: value for parameter, value in given.items() if value}
    answer = await questions.ask("get", {"device": options.device, **wanted})
    (print_json if options.json else print_fields)(answer.result)
    return Exit.OK
