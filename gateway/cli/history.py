"""``edge-gateway history``: the events of one device."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config, add_json, at_least
from gateway.cli.output import note, print_json, print_table, shown

if TYPE_CHECKING:
    from gateway.cli.read_side import Log
    from gateway.messages import RecordedEvent

SUMMARY: Final = "print the events of a device, oldest first"

_COLUMNS: Final = ("time", "revision", "type", "actor", "command_id", "data")
_BEFORE_THE_FIRST: Final = -1
_PAGE: Final = 500


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("device", metavar="DEVICE", help="id of the device")
    parser.add_argument("--limit", type=at_least(1), metavar="N", help="at most so many events (default: all)")
    parser.add_argument(
        "--after",
        type=at_least(_BEFORE_THE_FIRST),
        default=_BEFORE_THE_FIRST,
        metavar="REVISION",
        help="only what came after this revision",
    )
    add_config(parser)
    add_json(parser)


def execute(options: Namespace) -> Exit:
    """Print its events, page by page.

    Raises:
        SettingsError: the settings cannot be used.
        StateError: there is no log, or it cannot be read.
    """
    from gateway.cli.read_side import open_read_side
    from gateway.domain.catalogue import stream_of
    from gateway.queries.history import told

    with open_read_side(options.config) as side:
        streams = [stream_of(decider, options.device) for decider in side.catalogue]
        known = [stream for stream in streams if side.log.read_stream(stream, limit=1)]
        events = islice(_events(side.log, known, options.after), options.limit)
        if options.json:
            for event in events:
                print_json(told(event))
        else:
            _print(events)
    if not known:
        note(f"unknown device: {options.device}")
    return Exit.OK if known else Exit.NO


def _events(log: "Log", streams: Iterable[str], after: int) -> "Iterator[RecordedEvent]":
    for stream in streams:
        revision = after
        while page := log.read_stream(stream, after=revision, limit=_PAGE):
            yield from page
            revision = page[-1].revision


def _print(events: "Iterator[RecordedEvent]") -> None:
    from gateway.queries.history import told

    heading: Sequence[str] = [column.replace("_", " ") for column in _COLUMNS]
    # aligned a page at a time: a log may be longer than memory
    while page := [told(event) for event in islice(events, _PAGE)]:
        print_table(heading, [[shown(told[column]) for column in _COLUMNS] for told in page])
        heading = ()
