"""The call Read, for as many events as there are now."""

from collections.abc import Awaitable, Callable, Iterator
from time import time_ns
from typing import Any, Final

from tests.support.eventstoredb import refusals
from tests.support.eventstoredb.filters import read_filter
from tests.support.eventstoredb.log import EventLog, Existence
from tests.support.eventstoredb.node import Node
from tests.support.eventstoredb.protos import streams_pb2
from tests.support.eventstoredb.records import NO_STREAM, Record
from tests.support.eventstoredb.wire import BYTES, JSON, read_stream, write_uuid

Send = Callable[[streams_pb2.ReadResp], Awaitable[None]]
"""Returns when the client has room for more."""

BACKWARDS: Final = 1
COMBINATIONS: Final = {
    ("Stream", "Count", "NoFilter"),
    ("All", "Count", "NoFilter"),
    ("All", "Count", "Filter"),
    ("Stream", "Subscription", "NoFilter"),
    ("All", "Subscription", "NoFilter"),
    ("All", "Subscription", "Filter"),
}


def check_combination(options: Any) -> None:
    """Refuse what cannot be asked for together.

    Raises:
        Refusal: such as a filter on a stream, or a subscription backwards.
    """
    chosen = tuple(
        (options.WhichOneof(group) or "none").title().replace("_F", "F")
        for group in ("stream_option", "count_option", "filter_option")
    )
    backwards = options.read_direction == BACKWARDS
    if chosen not in COMBINATIONS or (backwards and chosen[1] == "Subscription"):
        direction = "Backwards" if backwards else "Forwards"
        combination = f"({chosen[0]}, {chosen[1]}, {direction}, {chosen[2]})"
        raise refusals.bad_request(f"The combination of {combination} is invalid.")


async def read(node: Node, options: Any, send: Send) -> None:
    """Send the events that a request asks for.

    Raises:
        Refusal: the stream is tombstoned, or no record begins at the position.
    """
    log = node.store.log
    as_text = options.uuid_option.WhichOneof("content") == "string"
    if options.WhichOneof("stream_option") == "stream":
        stream = read_stream(options.stream)
        existence = log.existence(stream)
        if existence is Existence.TOMBSTONED:
            raise refusals.stream_deleted(stream)
        if existence is not Existence.PRESENT:
            await send(_not_found(options))
            return
        records = _stream(log, stream, options)
    else:
        records = _all(log, node.generation, options)
    for _, record in zip(range(options.count), records, strict=False):
        await send(event(record, as_text=as_text))


def event(record: Record, *, as_text: bool) -> streams_pb2.ReadResp:
    """An event, as a reader gets it."""
    recorded = streams_pb2.ReadResp.ReadEvent.RecordedEvent(
        id=write_uuid(record.id, as_text=as_text),
        stream_revision=record.revision,
        prepare_position=record.position,
        commit_position=record.position,
        metadata={
            "type": record.type,
            "created": str(record.created),
            "content-type": JSON if record.is_json else BYTES,
        },
        custom_metadata=record.metadata,
        data=record.data,
    )
    recorded.stream_identifier.stream_name = record.stream.encode()
    return streams_pb2.ReadResp(event=streams_pb2.ReadResp.ReadEvent(event=recorded, commit_position=record.position))


def start_index(log: EventLog, generation: str, options: Any) -> int:
    """The index of the record at the position that a request names.

    Raises:
        Refusal: it names the middle of a record.
    """
    match options.all.WhichOneof("all_option"):
        case "position":
            position = options.all.position.commit_position
            if not log.is_boundary(position):
                raise _invalid_position(generation, filtered=options.WhichOneof("filter_option") == "filter")
            return log.index(position)
        case "end":
            return len(log.records)
    return 0


def _invalid_position(generation: str, *, filtered: bool) -> refusals.Refusal:
    if generation == "23":
        return refusals.unknown(f"Unexpected {'Filtered' * filtered}ReadAllResult: Error")
    if filtered:
        return refusals.unknown("Unexpected FilteredReadAllResult: InvalidPosition")
    return refusals.bad_request("Trying to read from an invalid position.")


def _not_found(options: Any) -> streams_pb2.ReadResp:
    missing = streams_pb2.ReadResp.StreamNotFound(stream_identifier=options.stream.stream_identifier)
    return streams_pb2.ReadResp(stream_not_found=missing)


def _stream(log: EventLog, name: str, options: Any) -> Iterator[Record]:
    events = log.stream(name)
    window = log.window(name, time_ns() // 100)
    backwards = options.read_direction == BACKWARDS
    match options.stream.WhichOneof("revision_option"):
        case "revision":
            start = options.stream.revision
        case "end":
            start = len(events) - 1
        case _:
            start = 0
    revision = min(start, len(events) - 1) if backwards else start
    while 0 <= revision < len(events):  # it may grow meanwhile: a read is no snapshot
        if window.shows(events[revision]):
            yield events[revision]
        revision += -1 if backwards else 1


def _all(log: EventLog, generation: str, options: Any) -> Iterator[Record]:
    matches = read_filter(options)
    index = start_index(log, generation, options)
    backwards = options.read_direction == BACKWARDS
    if backwards:
        index -= 1
    while 0 <= index < len(log.records):
        record = log.records[index]
        if record.revision != NO_STREAM and matches(record):
            yield record
        index += -1 if backwards else 1
