"""``edge-gateway diff``: what changed about a device."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.asking import add_source, asking
from gateway.cli.exit_status import Exit
from gateway.cli.options import add_json, name
from gateway.cli.options import moment as moment_type
from gateway.cli.output import moment, note, print_json, print_table, shown

if TYPE_CHECKING:
    from gateway.cli.asking import Questions

SUMMARY: Final = "show what changed about a device between two revisions or times"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("device", type=name, metavar="DEVICE", help="id of the device")
    parser.add_argument("before", type=moment_type, metavar="FROM", help="a revision, or a time")
    parser.add_argument("after", type=moment_type, metavar="TO", help="a revision, or a time")
    add_json(parser)
    add_source(parser)


def execute(options: Namespace) -> Exit:
    """Print each change. What it raises: see :func:`~gateway.cli.asking.asking`."""
    return asking(options, _show)


async def _show(questions: "Questions", options: Namespace) -> Exit:
    asked = {"device": options.device, "from": options.before, "to": options.after}
    result = (await questions.ask("diff", asked)).result
    if options.json:
        print_json(result)
        return Exit.OK
    note(f"from {_place(result['from'])} to {_place(result['to'])}")
    changes = [(one["op"], one["path"], shown(one["value"]) if "value" in one else "") for one in result["patch"]]
    if changes:
        print_table((), changes)
    return Exit.OK


def _place(end: Mapping[str, Any]) -> str:
    if end["at"] is None:
        return "before its first event"
    return f"revision {end['revision']} ({shown(moment(end['at']))})"
