"""The call BatchAppend: appends of any number, each answered when it is done, errors inside the answers."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.support.eventstoredb.commits import BatchFault, Call, WriteTimeout, commit
from tests.support.eventstoredb.node import Node, Role
from tests.support.eventstoredb.protos import any_pb2, empty_pb2, shared_pb2, status_pb2, streams_pb2
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
from tests.support.eventstoredb.refusals import NOT_READY
from tests.support.eventstoredb.wire import MissingMetadata, read_expected, read_proposed, read_stream, write_success

STATUSES: Final[dict[str, tuple[int, str, Any]]] = {
    "Unknown": (2, "Unknown", shared_pb2.Unknown()),
    "Timeout": (4, "Timeout", shared_pb2.Timeout()),
    "AccessDenied": (7, "Access Denied", shared_pb2.AccessDenied()),
    "NotReady": (0, NOT_READY, empty_pb2.Empty()),
    "Busy": (0, "Server Is Busy", empty_pb2.Empty()),
}
"""Those that say nothing but their name."""


class TooLarge(Exception):
    """The events are too large together."""


class BadBatch(Exception):
    """The batch breaks a rule; the argument is for people."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends the batches.

    Attributes:
        headers: of the call.
        peer: in the words of gRPC.
        may_write: whether it has said who it is, where it must.
    """

    headers: Mapping[str, str | bytes]
    peer: str
    may_write: bool


async def answer_batch(
    node: Node, options: Any, messages: Sequence[Any], caller: Caller
) -> streams_pb2.BatchAppendResp:
    """Append what one correlation id has collected.

    Raises:
        Refusal: this node is not the leader, or a fault ends the whole call.
    """
    result: dict[str, Any]
    try:
        answer = await _append(node, options, messages, caller)
        result = _result(answer, options)
    except BatchFault as fault:
        result = {"error": status(*STATUSES[fault.status])}
    except WriteTimeout:
        result = {"error": status(*STATUSES["Timeout"])}
    except MissingMetadata as error:
        result = {"error": _bad_request(f"Required Metadata Property '{error}' is missing")}
    except BadBatch as error:
        result = {"error": _bad_request(str(error))}
    except TooLarge:
        limit = shared_pb2.MaximumAppendSizeExceeded(maxAppendSize=node.max_append_size)
        result = {"error": status(3, "Maximum Append Size Exceeded", limit)}
    return streams_pb2.BatchAppendResp(stream_identifier=options.stream_identifier, **result)


def status(code: Any, message: str, details: Any) -> Any:
    """An error, as it stands inside an answer."""
    packed = any_pb2.Any()
    packed.Pack(details)
    return status_pb2.Status(code=code, message=message, details=packed)


async def _append(node: Node, options: Any, messages: Sequence[Any], caller: Caller) -> Answer:
    stream = read_stream(options)
    if not caller.may_write or node.read_only or stream == "$all":
        raise BatchFault("AccessDenied")
    events = _events(messages, stream, node.max_append_size)
    if node.role is Role.STARTING:
        raise BatchFault("NotReady")
    node.check_leadership("BatchAppend", stream, caller.headers)
    allowed = min(_requested(options), node.write_timeout)
    if allowed <= 0:
        raise WriteTimeout
    expected = read_expected(options)
    call = Call("BatchAppend", stream, caller.peer, allowed)
    return await commit(node, call, lambda: node.store.append(stream, expected, events))


def _events(messages: Sequence[Any], stream: str, limit: int) -> list[Proposed]:
    if not stream:
        raise BadBatch("Empty stream name provided")
    events = [read_proposed(message) for message in messages]
    if sum(event.size for event in events) > limit:
        raise TooLarge
    for event in events:
        if not event.type:
            raise BadBatch("Empty eventType provided.")
        if not event.id.int:
            raise BadBatch("Empty eventId provided.")
    return events


def _requested(options: Any) -> float:
    """The seconds that the client gives the append."""
    match options.WhichOneof("deadline_option"):
        case "deadline":
            return float(options.deadline.seconds + options.deadline.nanos / 1e9)
        case "deadline_21_10_0":
            return float(options.deadline_21_10_0.seconds + options.deadline_21_10_0.nanos / 1e9 - time.time())
    return math.inf


def _result(answer: Answer, options: Any) -> dict[str, Any]:
    if isinstance(answer, Committed | AlreadyCommitted):
        return {"success": write_success(streams_pb2.BatchAppendResp.Success(), answer)}
    if isinstance(answer, WrongExpectedVersion):
        return {"error": status(6, "WrongExpectedVersion", _wrong_version(answer, read_expected(options)))}
    deleted = shared_pb2.StreamDeleted(stream_identifier=options.stream_identifier)
    return {"error": status(5, "Stream Deleted", deleted)}


def _wrong_version(answer: WrongExpectedVersion, expected: int) -> shared_pb2.WrongExpectedVersion:
    details = shared_pb2.WrongExpectedVersion()
    if answer.current == NO_STREAM:
        details.current_no_stream.SetInParent()
    else:
        details.current_stream_revision = answer.current
    marks = {NO_STREAM: "expected_no_stream", ANY: "expected_any", EXISTS: "expected_stream_exists"}
    if expected in marks:
        getattr(details, marks[expected]).SetInParent()
    else:
        details.expected_stream_position = expected
    return details


def _bad_request(message: str) -> Any:
    return status(3, "Bad Request", shared_pb2.BadRequest(message=message))
