"""``edge-gateway history``: the events of one device."""

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.asking import LARGEST_PAGE, add_source, asking, is_remote, pages
from gateway.cli.exit_status import Exit
from gateway.cli.options import add_json, at_least, name
from gateway.cli.output import moment, note, print_json, print_table, shown

if TYPE_CHECKING:
    from gateway.cli.asking import Questions

Told = dict[str, Any]

SUMMARY: Final = "print the events of a device"

_COLUMNS: Final = ("time", "revision", "type", "actor", "command_id", "data")
_BEFORE_THE_FIRST: Final = -1
_WAIT_MS: Final = 20_000


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("device", type=name, metavar="DEVICE", help="id of the device")
    parser.add_argument("--limit", type=at_least(1), metavar="N", help="at most so many events (default: all)")
    parser.add_argument("--type", action="append", metavar="TYPE", help="only events of this type; may be repeated")
    parser.add_argument("--since", metavar="TIME", help="only what was recorded then or later: 2026-03-01T12:00:00Z")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--newest", action="store_true", help="newest first")
    which.add_argument(
        "--after",
        type=at_least(_BEFORE_THE_FIRST),
        default=_BEFORE_THE_FIRST,
        metavar="REVISION",
        help="only what came after this revision",
    )
    parser.add_argument("--follow", action="store_true", help="go on with what happens, for ever; of a remote gateway")
    add_json(parser)
    add_source(parser)


def execute(options: Namespace) -> Exit:
    """Print its events, page by page. What it raises: see :func:`~gateway.cli.asking.asking`."""
    if options.follow and options.newest:
        note("edge-gateway: --follow goes on with what happens: leave out --newest")
        return Exit.USAGE
    if options.follow and not is_remote(options):
        note("edge-gateway: --follow asks the running gateway: add --remote, or name a broker")
        return Exit.USAGE
    return asking(options, _show)


async def _show(questions: "Questions", options: Namespace) -> Exit:
    heading: Sequence[str] = [column.replace("_", " ") for column in _COLUMNS]
    left = options.limit
    # aligned a page at a time: a log may be longer than memory
    async for page in _pages(questions, options):
        events = page[:left]
        if options.json:
            for event in events:
                print_json(event)
        else:
            print_table(heading, map(row, events))
        heading = ()
        if options.follow:
            print(end="", flush=True)
        if left is not None:
            left -= len(events)
            if not left:
                break
    return Exit.OK


def row(event: Told) -> Sequence[str]:
    """An event as cells under the heading."""
    return [shown(moment(event[column]) if column == "time" else event[column]) for column in _COLUMNS]


async def _pages(questions: "Questions", options: Namespace) -> AsyncIterator[list[Told]]:
    of_device = {"device": options.device, **({"types": options.type} if options.type else {})}
    order = {"order": "newest"} if options.newest else {}
    asked = {**of_device, **order, **({"since": options.since} if options.since else {})}
    # whatever happens from here on comes behind its position
    place = await _newest(questions, options.device) if options.follow else 0
    revision = options.after
    limit = min(options.limit or LARGEST_PAGE, LARGEST_PAGE)
    async for answer in pages(questions, "history", {**asked, "after": revision, "limit": limit}):
        yield answer.result
        for event in answer.result[-1:]:
            revision, place = event["revision"], max(place, event["position"])
    while options.follow:
        answer = await questions.ask("feed", {**of_device, "after": place, "wait_ms": _WAIT_MS})
        if news := [event for event in answer.result if event["revision"] > revision]:
            yield news
        place = answer.next["after"] if answer.next else place


async def _newest(questions: "Questions", device: str) -> int:
    answer = await questions.ask("history", {"device": device, "order": "newest", "limit": 1})
    return max((event["position"] for event in answer.result), default=0)
