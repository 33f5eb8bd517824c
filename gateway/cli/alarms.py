"""``edge-gateway alarms``: what is alarming now."""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.asking import LARGEST_PAGE, add_source, asking, pages
from gateway.cli.exit_status import Exit
from gateway.cli.options import add_json, name
from gateway.cli.output import print_json, print_table, shown

if TYPE_CHECKING:
    from gateway.cli.asking import Questions

SUMMARY: Final = "list the active alarms"

_COLUMNS: Final = ("raised_at", "severity", "device", "code", "acknowledged_by", "message")


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("device", type=name, nargs="?", metavar="DEVICE", help="only of this device")
    add_json(parser)
    add_source(parser)


def execute(options: Namespace) -> Exit:
    """Print each alarm. What it raises: see :func:`~gateway.cli.asking.asking`."""
    return asking(options, _show)


async def _show(questions: "Questions", options: Namespace) -> Exit:
    asked = {"device": options.device} if options.device is not None else {}
    alarms: list[dict[str, Any]] = []
    async for answer in pages(questions, "alarms", {**asked, "limit": LARGEST_PAGE}):
        alarms += answer.result
    if options.json:
        for alarm in alarms:
            print_json(alarm)
    else:
        heading = [column.replace("_", " ") for column in _COLUMNS]
        print_table(heading, [[shown(alarm.get(column)) for column in _COLUMNS] for alarm in alarms])
    return Exit.OK
