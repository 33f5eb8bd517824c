"""``edge-gateway trace``: what caused what."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from gateway.cli.asking import LARGEST_PAGE, add_source, asking, pages
from gateway.cli.exit_status import Exit
from gateway.cli.options import add_json, at_least, name
from gateway.cli.output import moment, note, print_json, print_table, shown

if TYPE_CHECKING:
    from gateway.cli.asking import Questions

Step = dict[str, Any]

SUMMARY: Final = "tell what caused what: commands, and the events of each"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("command_id", nargs="?", metavar="COMMAND_ID", help="the id that its sender gave it")
    start.add_argument("--event", type=_event_id, metavar="ID", help="from an event to the command that caused it")
    start.add_argument("--correlation", metavar="ID", help="every command that names this correlation id")
    parser.add_argument("--by", type=name, metavar="ACTOR", help="only commands that this actor sent")
    parser.add_argument("--device", type=name, metavar="DEVICE", help="only commands for this device")
    parser.add_argument(
        "--after", type=at_least(0), metavar="POSITION", help="of a correlation id: look at what came after it only"
    )
    add_json(parser)
    add_source(parser)


def execute(options: Namespace) -> Exit:
    """Print each command with its events. What it raises: see :func:`~gateway.cli.asking.asking`."""
    return asking(options, _show)


async def _show(questions: "Questions", options: Namespace) -> Exit:
    given = {
        "command_id": options.command_id,
        "event_id": options.event,
        "correlation_id": options.correlation,
        "actor": options.by,
        "device": options.device,
        "after": options.after,
    }
    asked = {parameter: value for parameter, value in given.items() if value is not None}
    found, began = False, None
    async for answer in pages(questions, "trace", {**asked, "limit": LARGEST_PAGE}):
        for step in answer.result["commands"]:
            _print(step, as_json=options.json)
            found = True
        searched = answer.result.get("searched")
        if searched is not None:
            began = searched["after"] if began is None else began
            if answer.next is None:
                note(f"looked at the log behind position {began}, up to {searched['to']}")
    if not found:
        note(f"unknown: {options.command_id or options.event or options.correlation}")
    return Exit.OK if found else Exit.NO


def _print(step: Step, *, as_json: bool) -> None:
    if as_json:
        print_json(step)
        return
    print_table((), [_head(step)])
    if step["events"]:
        print_table((), _rows(step["events"]))


def _head(step: Step) -> Sequence[str]:
    verdict = f"{step['code']} {step['error']['type']}" if "error" in step else str(step["code"])
    course = f"of {step['correlation_id']}" if step["correlation_id"] not in {None, step["command_id"]} else ""
    received = shown(moment(step["received_at"]))
    return [received, step["actor"], step["command"], step["device"], verdict, step["command_id"], course]


def _rows(events: Sequence[Step]) -> Iterator[Sequence[str]]:
    for event in events:
        yield ["  ->", str(event["revision"]), event["type"], event["id"], shown(event["data"])]


def _event_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no id of an event") from None
