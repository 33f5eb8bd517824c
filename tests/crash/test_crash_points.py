"""Gateway, broker or store are killed at every named point of what the gateway does, one after the other, under load.

Where all of them would take too long, ``make test`` tries some, drawn anew each time by the seed that pytest prints
(``--randomly-seed`` has the same again), and ``pytest -m soak tests/crash`` tries all.
"""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.support import crash_points
from tests.support.broker import Broker
from tests.support.chosen_store import CHOSEN, EMBEDDED, STAND_IN
from tests.support.enduring_technician import enduring_technician
from tests.support.eventstoredb_process import EventStoreProcess
from tests.support.fleet import Fleet
from tests.support.gateway_process import GatewayProcess, Sections
from tests.support.site import Site, site
from tests.support.verdict import assert_kept

pytestmark = pytest.mark.timeout(240)

SETTINGS: Sections = {
    "mqtt": {"backoff_min": 0.05, "backoff_max": 0.2},
    "event_store": {"patience": 0.3, "deadline": 1.0, "snapshot_every": 10},
    "readmodel": {"flush_interval": 0.1},
    "outages": {"settle": 0.2},
}
ITSELF = 0
SETTLING = 1.5
SOME = 4

own_store = pytest.mark.skipif(CHOSEN != STAND_IN, reason="needs a store of its own that can be killed")


@pytest.fixture(params=[pytest.param(SOME, id="some"), pytest.param(1_000, id="all", marks=pytest.mark.soak)])
def share(request: pytest.FixtureRequest) -> int:
    """How many points are tried."""
    return int(request.param)


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, SETTINGS) as one:
        yield one


async def test_a_kill_at_each_point_of_the_way_of_a_command_keeps_every_promise(own_site: Site) -> None:
    hot = crash_points.COMMAND_PATH | (crash_points.EMBEDDED if CHOSEN == EMBEDDED else {})

    async def kill_at_each(gateway: GatewayProcess) -> None:
        for label in _shuffled(hot):
            await _die_at(gateway, label, random.randint(1, 30))

    await _run(own_site, kill_at_each)


async def test_a_kill_at_each_point_of_start_and_read_side_keeps_every_promise(own_site: Site) -> None:
    async def kill_at_each(gateway: GatewayProcess) -> None:
        for label in _shuffled(crash_points.START):
            await _die_at(gateway, label, 1)
        for label in _shuffled(crash_points.READ_SIDE):
            await _die_at(gateway, label, random.randint(1, 3))
        for label in _shuffled(crash_points.READ_SIDE):
            # without a cache it has the whole log to fold
            gateway.cache.unlink(missing_ok=True)
            await _die_at(gateway, label, 1)

    await _run(own_site, kill_at_each)


async def test_a_kill_at_each_point_of_a_rebuild_keeps_every_promise(own_site: Site) -> None:
    async def kill_at_each(gateway: GatewayProcess) -> None:
        for label in _shuffled(crash_points.REBUILD):
            dying = asyncio.create_task(_die_at(gateway, label, 1))
            await asyncio.sleep(0)
            await _rebuild(gateway)
            await dying

    await _run(own_site, kill_at_each)


@own_store
async def test_a_kill_while_commands_are_parked_and_settled_keeps_every_promise(own_site: Site) -> None:
    async def kill_at_each(gateway: GatewayProcess) -> None:
        store = gateway.store.process
        assert store is not None
        for label in _shuffled(crash_points.PARKING):
            await asyncio.to_thread(store.kill)
            dying = asyncio.create_task(_die_at(gateway, label, random.randint(1, 5)))
            # one outage need not be enough: what is settled together passes the point only once
            while True:
                # long enough to park, and then there is something to settle
                await asyncio.sleep(random.uniform(0.8, 1.6))
                await asyncio.to_thread(store.start)
                await asyncio.wait({dying}, timeout=SETTLING)
                if dying.done():
                    break
                await asyncio.to_thread(store.kill)
            await dying

    await _run(own_site, kill_at_each)


@own_store
async def test_a_store_that_is_killed_at_each_point_keeps_every_promise(own_site: Site) -> None:
    async def kill_at_each(gateway: GatewayProcess) -> None:
        store = gateway.store.process
        assert store is not None
        for label in _shuffled(crash_points.COMMAND_PATH | crash_points.READ_SIDE):
            gateway.launch((label, random.randint(1, 3), store.process_id))
            await asyncio.to_thread(store.wait_killed)
            await asyncio.to_thread(store.start)
            await asyncio.to_thread(gateway.wait_online)
            await asyncio.to_thread(gateway.kill)

    await _run(own_site, kill_at_each)


@own_store
async def test_a_store_that_is_killed_at_points_of_start_and_rebuild_keeps_every_promise(
    own_site: Site, share: int
) -> None:
    async def kill_at_each(gateway: GatewayProcess) -> None:
        store = gateway.store.process
        assert store is not None
        for label in _shuffled([*crash_points.START, *crash_points.REBUILD], share):
            gateway.launch((label, 1, store.process_id))
            if label in crash_points.REBUILD:
                await _rebuild(gateway)
            await asyncio.to_thread(store.wait_killed)
            await asyncio.to_thread(store.start)
            if label in crash_points.START:
                await asyncio.to_thread(gateway.wait_online)
            await asyncio.to_thread(gateway.kill)

    await _run(own_site, kill_at_each)


@own_store
async def test_a_store_that_is_killed_while_commands_are_parked_and_settled_keeps_every_promise(
    own_site: Site, share: int
) -> None:
    async def kill_at_each(gateway: GatewayProcess) -> None:
        store = gateway.store.process
        assert store is not None
        for label in _shuffled(crash_points.PARKING, share):
            await _die_while_parking(gateway, label, store)
            await asyncio.to_thread(gateway.kill)

    await _run(own_site, kill_at_each)


@own_store
async def test_a_broker_that_is_killed_while_commands_are_parked_and_settled_costs_no_promise(
    own_site: Site, share: int
) -> None:
    async def kill_at_each(gateway: GatewayProcess) -> None:
        for label in _shuffled(crash_points.PARKING, share):
            await _die_while_parking(gateway, label, own_site.broker)
            await asyncio.to_thread(gateway.wait_online)
            await asyncio.to_thread(gateway.kill)

    await _run(own_site, kill_at_each, broker_forgets=True)


async def test_a_broker_that_is_killed_at_each_point_costs_no_promise(own_site: Site) -> None:
    broker = own_site.broker

    async def kill_at_each(gateway: GatewayProcess) -> None:
        under_load = crash_points.COMMAND_PATH | crash_points.READ_SIDE
        if CHOSEN == EMBEDDED:
            under_load |= crash_points.EMBEDDED
        for label in _shuffled(under_load | crash_points.START | crash_points.REBUILD):
            gateway.launch((label, random.randint(1, 3) if label in under_load else 1, broker.process_id))
            if label in crash_points.REBUILD:
                await _rebuild(gateway)
            await asyncio.to_thread(broker.wait_killed)
            await asyncio.to_thread(broker.start)
            await asyncio.to_thread(gateway.wait_online)
            await asyncio.to_thread(gateway.kill)

    await _run(own_site, kill_at_each, broker_forgets=True)


async def _run(
    own_site: Site, kill_at_each: Callable[[GatewayProcess], Awaitable[None]], *, broker_forgets: bool = False
) -> None:
    """Let the fleet send meanwhile, and look at everything at the end."""
    gateway, stop = own_site.gateway, asyncio.Event()
    async with enduring_technician(own_site.broker.port) if broker_forgets else own_site.technician() as tech:
        await asyncio.gather(tech.watch("event/#"), tech.watch("state/#"))
        fleet = Fleet(tech, broker_forgets=broker_forgets)
        await fleet.register()
        await asyncio.to_thread(gateway.kill)
        async with asyncio.TaskGroup() as group:
            group.create_task(fleet.send(stop))
            try:
                await kill_at_each(gateway)
            finally:
                stop.set()
                gateway.launch()
        # before it is asked to stop, it has to be there
        await asyncio.to_thread(gateway.wait_online)
        await assert_kept(fleet, own_site, broker_forgot=broker_forgets)


async def _rebuild(gateway: GatewayProcess) -> None:
    await asyncio.to_thread(gateway.wait_online)
    gateway.signal(signal.SIGUSR1)


def _shuffled(points: Iterable[str], most: int = 1_000) -> list[str]:
    labels = list(points)
    chosen = random.sample(labels, min(most, len(labels)))
    print("points, in this order:", ", ".join(chosen))  # noqa: T201 - to be seen when it fails
    return chosen


async def _die_while_parking(gateway: GatewayProcess, label: str, victim: Broker | EventStoreProcess) -> None:
    """Let the store stand still for a while, again and again, until the victim has been killed there; start it anew."""
    store = gateway.store.process
    assert store is not None
    process_id = store.process_id
    gateway.launch((label, random.randint(1, 3), victim.process_id))
    if victim is store:
        # a broker may be killed before it could tell: what was left parked is settled at once
        await asyncio.to_thread(gateway.wait_online)
    dying = asyncio.create_task(asyncio.to_thread(victim.wait_killed))
    while not dying.done():
        os.kill(process_id, signal.SIGSTOP)
        # long enough to park, and then there is something to settle
        await asyncio.wait({dying}, timeout=random.uniform(0.8, 1.6))
        if victim is store and dying.done():
            break
        os.kill(process_id, signal.SIGCONT)
        await asyncio.wait({dying}, timeout=SETTLING)
    await dying
    await asyncio.to_thread(victim.start)


async def _die_at(gateway: GatewayProcess, label: str, passage: int) -> None:
    """Start it, and wait until it has killed itself there."""
    gateway.launch((label, passage, ITSELF))
    assert await asyncio.to_thread(gateway.wait) == -signal.SIGKILL, label
