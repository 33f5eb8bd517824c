"""The call Append: one append, spread over several requests."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.eventstoredb import refusals
from tests.support.eventstoredb.protos import grpc, streams_pb2
from tests.support.eventstoredb.records import (
    ANY,
    EXISTS,
    NO_STREAM,
    AlreadyCommitted,
    Answer,
    Committed,
    Proposed,
    WrongExpectedVersion,
)
from tests.support.eventstoredb.wire import MissingMetadata, read_proposed, write_success


async def read_append(receive: Callable[[], Awaitable[Any]], limit: int) -> tuple[Any, list[Proposed]]:
    """The options, and the events.

    Raises:
        Refusal: there is too much, or an event breaks a rule.
    """
    options = None
    events: list[Proposed] = []
    try:
        while (request := await receive()) is not grpc.aio.EOF:
            if request.WhichOneof("content") == "options":
                options = request.options
            else:
                events.append(read_proposed(request.proposed_message))
    except MissingMetadata as error:
        raise refusals.metadata_missing(str(error)) from None
    if options is None or not options.stream_identifier.stream_name:
        raise refusals.bad_request("Empty stream name provided")
    if sum(event.size for event in events) > limit:
        raise refusals.append_too_large(limit)
    if any(not event.type or not event.id.int for event in events):
        raise refusals.bad_request("Empty eventType or eventId provided.")
    return options, events


def append_response(answer: Answer, stream: str, expected: int) -> streams_pb2.AppendResp:
    """What the client is told.

    Raises:
        Refusal: the stream is deleted.
    """
    if isinstance(answer, Committed | AlreadyCommitted):
        return streams_pb2.AppendResp(success=write_success(streams_pb2.AppendResp.Success(), answer))
    if isinstance(answer, WrongExpectedVersion):
        return streams_pb2.AppendResp(wrong_expected_version=_wrong_version(answer.current, expected))
    raise refusals.stream_deleted(stream)


def _wrong_version(current: int, expected: int) -> streams_pb2.AppendResp.WrongExpectedVersion:
    """Told twice: once more for clients older than 20.6.1."""
    details = streams_pb2.AppendResp.WrongExpectedVersion()
    if current == NO_STREAM:
        details.current_no_stream.SetInParent()
        details.no_stream_20_6_0.SetInParent()
    else:
        details.current_revision = current
        details.current_revision_20_6_0 = current
    if expected == ANY:
        details.expected_any.SetInParent()
        details.any_20_6_0.SetInParent()
    elif expected == EXISTS:
        details.expected_stream_exists.SetInParent()
        details.stream_exists_20_6_0.SetInParent()
    elif expected == NO_STREAM:
        details.expected_no_stream.SetInParent()
    else:
        details.expected_revision = expected
        details.expected_revision_20_6_0 = expected
    return details
