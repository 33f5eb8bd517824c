"""The adapter and a cluster: it finds the leader, and follows when another node leads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from uuid import UUID

import pytest

from gateway.adapters.esdb_options import EsdbOptions
from gateway.adapters.eventstoredb import EventStoreDBLog, open_eventstoredb
from gateway.errors import StoreUnavailable
from gateway.messages import NO_STREAM, NewEvent
from tests.support.eventstoredb.cluster import Cluster, cluster
from tests.support.new_events import new_event, new_events

LEADER = 2


@pytest.fixture
async def nodes() -> AsyncIterator[Cluster]:
    async with cluster() as nodes:
        yield nodes


@asynccontextmanager
async def log_at(url: str) -> AsyncIterator[EventStoreDBLog]:
    async with AsyncExitStack() as stack:
        options = EsdbOptions(url, ("device",), deadline=2.0)
        log, follower = await stack.enter_async_context(open_eventstoredb(options))
        following = asyncio.create_task(follower.run())
        try:
            yield log
        finally:
            following.cancel()
            await asyncio.wait([following])


async def append(log: EventStoreDBLog, expected: int, event: NewEvent) -> None:
    """Again and again until the store has it, as the gateway does."""
    async with asyncio.timeout(20):
        while True:
            try:
                await log.append("device-a", expected, [event])
            except StoreUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


async def test_the_leader_is_found_behind_nodes_that_are_down_or_follow(nodes: Cluster) -> None:
    await nodes.stop(0)
    async with log_at(nodes.url) as log:
        await log.append("device-a", NO_STREAM, new_events(1))

    assert nodes.store.log.current("device-a") == 0


@pytest.mark.parametrize("killed", [False, True], ids=["steps down", "dies"])
async def test_appends_and_the_subscription_follow_when_the_leader(nodes: Cluster, *, killed: bool) -> None:
    events = new_events(60)
    seen: list[UUID] = []

    async def listen(log: EventStoreDBLog) -> None:
        async with aclosing(log.subscribe(after=0)) as pages:
            async for page in pages:
                seen.extend(event.id for event in page)
                if len(seen) >= len(events):
                    return

    async with log_at(nodes.url) as log, asyncio.timeout(40):
        listening = asyncio.create_task(listen(log))
        previous = LEADER
        for number, event in enumerate(events):
            if number % 15 == 10:
                previous = nodes.leader
                if killed:
                    await nodes.stop(previous)
                nodes.lead((previous + 1) % len(nodes.nodes))
            if number % 15 == 14 and killed:
                await nodes.start(previous)
            await append(log, number - 1, event)
        await listening

    assert seen == [event.id for event in events]


async def test_a_node_named_alone_serves_again_when_it_leads_again(nodes: Cluster) -> None:
    port = nodes.nodes[LEADER].address[1]
    async with log_at(f"esdb://127.0.0.1:{port}?Tls=false") as log:
        await log.append("device-a", NO_STREAM, new_events(1))
        nodes.lead(0)
        event = new_event()
        with pytest.raises(StoreUnavailable):
            await log.append("device-a", 0, [event])
        nodes.lead(LEADER)
        await append(log, 0, event)

    assert nodes.store.log.current("device-a") == 1
