"""What a test can let go wrong with a write: before it is in the log, and after."""

import asyncio
import time
from typing import Any

import pytest

from gateway.adapters import esdb_client as esdb
from tests.support.eventstoredb.following import following
from tests.support.eventstoredb.protos import grpc, shared_pb2
from tests.support.eventstoredb.raw_client import RawClient, batch, proposed, raw_client
from tests.support.eventstoredb.records import ANY, NO_STREAM
from tests.support.eventstoredb.server import StandIn

STREAM = "device-1"
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def stored(server: StandIn, stream: str = STREAM) -> int:
    return len(server.log.stream(stream))


async def status(raw: RawClient, stream: str = STREAM) -> Any:
    """The status that an append ends with; ``None`` where it is answered."""
    try:
        await raw.append(stream, ANY, proposed())
    except grpc.aio.AioRpcError as error:
        return error.code()
    return None


async def test_unavailable_before_the_commit_stores_nothing(server: StandIn, raw: RawClient) -> None:
    server.faults.set("unavailable_before_commit")

    assert await status(raw) is UNAVAILABLE
    assert stored(server) == 0


async def test_unavailable_after_the_commit_has_stored_the_event(server: StandIn, raw: RawClient) -> None:
    server.faults.set("commit_then_unavailable")

    assert await status(raw) is UNAVAILABLE
    assert stored(server) == 1


@pytest.mark.parametrize("call", ["append_single", "delete", "tombstone"])
@pytest.mark.parametrize(("kind", "committed"), [("unavailable_before_commit", 0), ("commit_then_unavailable", 1)])
async def test_a_fault_concerns_every_kind_of_write(
    server: StandIn, raw: RawClient, call: str, kind: str, committed: int
) -> None:
    await raw.append(STREAM, NO_STREAM, proposed())
    before = len(server.log.records)
    server.faults.set(kind)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(raw, call)(STREAM, 0, *([proposed()] if call == "append_single" else []))

    assert caught.value.code() is UNAVAILABLE
    assert len(server.log.records) - before == committed


async def test_a_fault_after_the_commit_waits_for_one(server: StandIn, raw: RawClient) -> None:
    server.faults.set("commit_then_unavailable")

    assert (await raw.append(STREAM, 7, proposed())).WhichOneof("result") == "error"
    assert await status(raw) is UNAVAILABLE


async def test_a_fault_after_the_commit_also_strikes_the_retry(server: StandIn, raw: RawClient) -> None:
    server.faults.set("commit_then_unavailable", count=2)
    event = proposed()

    for _ in range(2):
        with pytest.raises(grpc.aio.AioRpcError):
            await raw.append(STREAM, NO_STREAM, event)

    assert (await raw.append(STREAM, NO_STREAM, event)).success.current_revision == 0


async def test_a_fault_happens_as_often_as_it_is_set_to(server: StandIn, raw: RawClient) -> None:
    server.faults.set("unavailable_before_commit", count=2)

    assert [await status(raw) for _ in range(3)] == [UNAVAILABLE, UNAVAILABLE, None]
    assert server.faults.pending == []


async def test_a_fault_concerns_the_streams_that_it_names(server: StandIn, raw: RawClient) -> None:
    server.faults.set("unavailable_before_commit", stream="device-*")

    assert [await status(raw, stream) for stream in ("other", "device-2", "device-1")] == [None, UNAVAILABLE, None]


async def test_a_fault_concerns_the_method_that_it_names(server: StandIn, raw: RawClient) -> None:
    server.faults.set("unavailable_before_commit", method="Read")

    assert await status(raw) is None
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw.read(stream=STREAM)
    assert caught.value.code() is UNAVAILABLE


async def test_faults_that_were_cleared_do_not_happen(server: StandIn, raw: RawClient) -> None:
    server.faults.set("unavailable_before_commit", count=100)
    server.faults.clear()

    assert await status(raw) is None


@pytest.mark.parametrize("kind", ["delay_before_commit", "delay_after_commit"])
async def test_a_delay_within_the_time_allowed_only_delays(server: StandIn, raw: RawClient, kind: str) -> None:
    server.faults.set(kind, seconds=0.05)
    before = time.monotonic()

    answer = await raw.append(STREAM, NO_STREAM, proposed())

    assert time.monotonic() - before >= 0.05
    assert answer.WhichOneof("result") == "success"
    assert stored(server) == 1


@pytest.mark.parametrize(("kind", "committed"), [("delay_before_commit", 0), ("delay_after_commit", 1)])
async def test_a_delay_beyond_the_time_that_the_client_allows_is_a_timeout(
    server: StandIn, raw: RawClient, kind: str, committed: int
) -> None:
    server.faults.set(kind, seconds=60)

    answer = await raw.append(STREAM, NO_STREAM, proposed(), deadline={"nanos": 50_000_000})

    assert answer.error.details.Is(shared_pb2.Timeout.DESCRIPTOR)
    assert stored(server) == committed


@pytest.mark.parametrize("deadline", [{}, {"deadline": {"seconds": 60}}])
async def test_the_server_allows_no_write_more_than_its_own_limit(
    server: StandIn, raw: RawClient, deadline: dict[str, Any]
) -> None:
    assert server.node.write_timeout == 2
    server.node.write_timeout = 0.05
    server.faults.set("delay_after_commit", seconds=60, count=2)

    answer = await raw.append(STREAM, NO_STREAM, proposed(), **deadline)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw.append_single("device-2", NO_STREAM, proposed())

    assert answer.error.details.Is(shared_pb2.Timeout.DESCRIPTOR)
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert (stored(server), stored(server, "device-2")) == (1, 1)


async def test_a_hanging_append_is_in_the_log_but_never_answered(server: StandIn, raw: RawClient) -> None:
    server.faults.set("commit_then_hang", stream=STREAM)

    call = raw.streams.BatchAppend(iter([batch(STREAM, NO_STREAM, proposed())]))
    waiting = asyncio.ensure_future(call.read())
    async with asyncio.timeout(10):
        while server.faults.pending:
            await asyncio.sleep(0)
    assert await status(raw, "device-2") is None

    assert not waiting.done()
    assert stored(server) == 1
    call.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()


async def test_a_dropped_connection_takes_its_calls_with_it_and_no_others(server: StandIn, raw: RawClient) -> None:
    server.faults.set("commit_then_drop_connection", stream=STREAM)
    async with raw_client(server.port) as bystander, following(raw) as cut_off, following(bystander) as other:
        await cut_off.until("caught_up")
        await other.until("caught_up")

        assert await status(raw) is UNAVAILABLE
        assert stored(server) == 1

        assert await other.next() == ("Counted", server.log.stream(STREAM)[0].position)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await cut_off.until("never")
        assert caught.value.code() is UNAVAILABLE


async def test_a_fault_lets_the_server_forget_the_ids_that_it_knows(server: StandIn, raw: RawClient) -> None:
    event = proposed()
    await raw.append(STREAM, ANY, event)
    await raw.append(STREAM, ANY, event)
    assert stored(server) == 1

    server.faults.set("clear_id_cache")
    await raw.append(STREAM, ANY, event)

    assert stored(server) == 2


async def test_a_client_that_retries_after_a_lost_answer_stores_its_event_once(server: StandIn) -> None:
    server.faults.set("commit_then_drop_connection")
    client = esdb.Client(server.url)
    await client.connect()
    event = esdb.NewEvent(type="Counted", data=b"{}")

    position = await client.append_to_stream(
        STREAM, current_version=esdb.StreamState.NO_STREAM, events=[event], timeout=5
    )
    await client.close()

    assert position == server.log.stream(STREAM)[0].position
    assert stored(server) == 1


async def test_a_fault_that_nobody_knows_is_refused(server: StandIn) -> None:
    with pytest.raises(ValueError, match="explode"):
        server.faults.set("explode")
