"""``edge-gateway outages``: what the gateway went through."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config, add_json, at_least
from gateway.cli.output import print_json, print_table, shown

if TYPE_CHECKING:
    from gateway.cli.read_side import ReadSide

SUMMARY: Final = "list what was away or lost, when, and what it may have cost"

_COLUMNS: Final = ("began_at", "ended_at", "kind", "times", "cause", "affected", "acknowledged_by", "outage")
_PAGE: Final = 500


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("--limit", type=at_least(1), metavar="N", help="only the newest so many (default: all)")
    parser.add_argument("--open", action="store_true", help="only what goes on or is not acknowledged")
    add_config(parser)
    add_json(parser)


def execute(options: Namespace) -> Exit:
    """Print the ledger, oldest first.

    Raises:
        SettingsError: the settings cannot be used.
        StateError: there is no log, or it cannot be read.
        StoreUnavailable: the log is elsewhere, and the store is away.
    """
    from gateway.cli.read_side import open_read_side

    with open_read_side(options.config) as side:
        lines = [*_recorded(side), *_pending(side)]
    if options.open:
        lines = [line for line in lines if _is_open(line)]
    lines = lines[-options.limit :] if options.limit else lines
    if options.json:
        for line in lines:
            print_json(line)
    else:
        heading = [column.replace("_", " ") for column in _COLUMNS]
        print_table(heading, [[shown(line[column]) for column in _COLUMNS] for line in lines])
    return Exit.OK


def _recorded(side: "ReadSide") -> list[dict[str, Any]]:
    from gateway.codec import EventCodec
    from gateway.domain.catalogue import stream_of
    from gateway.domain.outages import GATEWAY, OutageAcknowledged, OutageRecorded
    from gateway.messages import NO_STREAM

    codec, stream, revision = EventCodec(side.catalogue), stream_of(GATEWAY, side.gateway), NO_STREAM
    lines: dict[str, dict[str, Any]] = {}
    while page := side.log.read_stream(stream, after=revision, limit=_PAGE):
        for event in map(codec.decode, page):
            if isinstance(event, OutageRecorded):
                nobody = {"acknowledged_by": None, "acknowledged_at": None, "note": None}
                lines[event.outage] = {**event.model_dump(exclude={"at"}), **nobody}
            elif isinstance(event, OutageAcknowledged) and event.outage in lines:
                lines[event.outage] |= {
                    "acknowledged_by": event.by,
                    "acknowledged_at": event.at,
                    "note": event.note,
                }
        revision = page[-1].revision
    return list(lines.values())


def _pending(side: "ReadSide") -> Iterator[dict[str, Any]]:
    for outage in side.own.pending_outages():
        line = asdict(outage)
        yield {"outage": line.pop("id"), **line, "acknowledged_by": None, "acknowledged_at": None, "note": None}


def _is_open(line: dict[str, Any]) -> bool:
    from gateway.domain.outages import TO_ACKNOWLEDGE

    return line["ended_at"] is None or (line["kind"] in TO_ACKNOWLEDGE and line["acknowledged_by"] is None)
