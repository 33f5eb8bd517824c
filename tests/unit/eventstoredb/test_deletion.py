"""The calls Delete and Tombstone, as they are on the wire."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.eventstoredb.protos import grpc
from tests.support.eventstoredb.raw_client import RawClient, proposed
from tests.support.eventstoredb.records import ANY, EXISTS, NO_STREAM
from tests.support.eventstoredb.server import StandIn

CALLS: dict[str, Callable[[RawClient, str, int], Awaitable[Any]]] = {
    "delete": lambda raw, stream, expected: raw.delete(stream, expected),
    "tombstone": lambda raw, stream, expected: raw.tombstone(stream, expected),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_deletion_is_answered_with_its_position(server: StandIn, raw: RawClient, call: str) -> None:
    await raw.append("device-1", NO_STREAM, proposed())

    answer = await CALLS[call](raw, "device-1", 0)

    last = server.log.records[-1].position
    assert answer.position.commit_position == answer.position.prepare_position == last


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("stream", "expected", "actual"), [("device-1", 7, 0), ("missing", EXISTS, -1)])
async def test_a_wrong_revision_ends_the_call_and_is_named(
    raw: RawClient, call: str, stream: str, expected: int, actual: int
) -> None:
    await raw.append("device-1", NO_STREAM, proposed())

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await CALLS[call](raw, stream, expected)

    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == (
        f"Delete failed due to WrongExpectedVersion. Stream: {stream}, "
        f"Expected version: {expected}, Actual version: {actual}"
    )
    trailers = caught.value.trailing_metadata()
    assert trailers["exception"] == "wrong-expected-version"
    assert (trailers["stream-name"], trailers["expected-version"]) == (stream, str(expected))
    assert trailers["actual-version"] == str(actual)


@pytest.mark.parametrize("call", CALLS)
async def test_a_tombstoned_stream_cannot_be_deleted(raw: RawClient, call: str) -> None:
    await raw.tombstone("device-1", NO_STREAM)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await CALLS[call](raw, "device-1", ANY)

    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "Event stream 'device-1' is deleted."
    assert caught.value.trailing_metadata()["exception"] == "stream-deleted"
