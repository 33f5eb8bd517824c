"""What a test can let go wrong with a subscription."""

import asyncio

import pytest

from tests.support.eventstoredb.following import append, following
from tests.support.eventstoredb.protos import grpc
from tests.support.eventstoredb.raw_client import RawClient
from tests.support.eventstoredb.server import StandIn


async def test_a_fault_ends_a_subscription_as_if_all_were_well(server: StandIn, raw: RawClient) -> None:
    async with following(raw) as follower:
        await follower.until("caught_up")
        server.faults.set("end_subscription_ok")

        assert await follower.next() == ("end", None)


async def test_a_fault_aborts_a_subscription_with_any_status(server: StandIn, raw: RawClient) -> None:
    async with following(raw) as follower:
        await follower.until("caught_up")
        server.faults.set("abort_subscription", code="UNAVAILABLE", text="Cancelling all calls")

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await follower.next()

    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAVAILABLE, "Cancelling all calls")


async def test_a_fault_may_come_after_some_events(server: StandIn, raw: RawClient) -> None:
    steps = await append(raw, "a", "First", "Second", "Third")
    server.faults.set("end_subscription_ok", after=2)

    async with following(raw, stream="a") as follower:
        assert [await follower.next() for _ in range(3)] == [("confirmation", None), *steps[:2]]
        assert await follower.next() == ("end", None)


async def test_a_stalled_subscription_is_told_nothing_while_others_are(server: StandIn, raw: RawClient) -> None:
    async with following(raw, stream="a") as stalled, following(raw) as other:
        await stalled.until("caught_up")
        await other.until("caught_up")
        server.faults.set("stall_subscription", stream="a")
        (new,) = await append(raw, "a", "New")

        assert await other.next() == new
        assert server.faults.pending == []
        waiting = asyncio.ensure_future(stalled.next())
        await append(raw, "a", "More")
        assert await other.next() != new
        assert not waiting.done()
        waiting.cancel()


async def test_a_duplicate_is_the_same_event_twice(server: StandIn, raw: RawClient) -> None:
    server.faults.set("duplicate_event", after=1)
    first, second, third = await append(raw, "a", "First", "Second", "Third")

    async with following(raw, stream="a") as follower:
        steps = await follower.until("caught_up")

    assert steps[1:-1] == [first, second, second, third]


async def test_a_fault_happens_as_often_as_it_is_set_to(server: StandIn, raw: RawClient) -> None:
    server.faults.set("end_subscription_ok", stream="$all", count=2)

    for ends in (True, True, False):
        async with following(raw, at="end") as follower:
            await follower.next()
            if ends:
                await follower.next()
                assert await follower.next() == ("end", None)
            else:
                await follower.until("caught_up")
                assert server.faults.pending == []
