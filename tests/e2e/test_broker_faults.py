"""The broker restarts, forgets, hangs, is slow or far away, while devices and an operator send: nothing is broken."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from aiomqtt import Client, MqttError

from tests.support.broker import Broker
from tests.support.enduring_technician import enduring_technician
from tests.support.fleet import Fleet
from tests.support.gateway_process import GatewayProcess, Sections
from tests.support.site import Site
from tests.support.tcp_line import Direction
from tests.support.tcp_proxy import TcpProxy
from tests.support.technician import technician
from tests.support.verdict import assert_kept

pytestmark = pytest.mark.timeout(120)

SETTINGS: Sections = {
    "mqtt": {"keepalive": 1, "connect_timeout": 1.0, "backoff_min": 0.05, "backoff_max": 0.3},
    "outages": {"settle": 0.5},
    "health": {"interval": 0.2},
}
QUEUE = 20
DROPPED = "$SYS/broker/publish/messages/dropped"


@dataclass
class Plant:
    """A broker, a line that can be troubled, and a gateway at its other end."""

    broker: Broker
    line: TcpProxy
    gateway: GatewayProcess

    async def outage(self, kind: str) -> None:
        """Wait until an outage of this kind is in the ledger."""
        async with asyncio.timeout(30):
            while not any(line["kind"] == kind for line in self.gateway.log("outage_recorded")):
                await asyncio.sleep(0.05)

    async def lost(self, times: int = 1) -> None:
        """Wait until the gateway has said so often that it has lost the broker."""
        async with asyncio.timeout(30):
            while len(self.gateway.log("link_lost")) < times:
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture
async def plant(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Plant]:
    broker = Broker(tmp_path / "broker", getattr(request, "param", None))
    broker.start()
    async with TcpProxy(broker.port) as line:
        gateway = GatewayProcess(tmp_path / "gateway", broker.port, {**SETTINGS, "mqtt": _through(line)})
        try:
            await asyncio.to_thread(gateway.start)
            yield Plant(broker, line, gateway)
        finally:
            await asyncio.to_thread(gateway.close)
            broker.stop()


def _through(line: TcpProxy) -> dict[str, object]:
    return {**SETTINGS["mqtt"], "port": line.port}


async def _under_load(plant: Plant, trouble: Callable[[], Awaitable[None]], *, forgets: bool) -> None:
    """Let the fleet send, make trouble, and look at everything at the end."""
    stop = asyncio.Event()
    async with enduring_technician(plant.broker.port) as tech:
        await asyncio.gather(tech.watch("event/#"), tech.watch("state/#"))
        fleet = Fleet(tech, broker_forgets=forgets)
        await fleet.register()
        async with asyncio.TaskGroup() as group:
            group.create_task(fleet.send(stop))
            try:
                await asyncio.sleep(0.3)
                await trouble()
                await asyncio.sleep(0.3)
            finally:
                stop.set()
        await assert_kept(fleet, Site(plant.broker, plant.gateway), broker_forgot=forgets)


async def test_a_broker_that_is_restarted_in_good_order_costs_nothing(plant: Plant) -> None:
    async def restart() -> None:
        for _ in range(3):
            plant.broker.stop()
            plant.broker.start()
            await asyncio.to_thread(plant.gateway.wait_online)

    await _under_load(plant, restart, forgets=True)
    assert not plant.gateway.log("session_lost")
    assert plant.gateway.log("link_lost")


async def test_a_broker_that_has_lost_its_memory_is_reported_and_what_it_lost_is_sent_again(plant: Plant) -> None:
    async def forget() -> None:
        plant.broker.kill()
        plant.broker.forget()
        plant.broker.start()
        await asyncio.to_thread(plant.gateway.wait_online)
        await plant.outage("session")

    await _under_load(plant, forget, forgets=True)
    assert plant.gateway.log("session_lost")


@pytest.mark.parametrize(
    "directions", [(), (Direction.TO_SERVER,), (Direction.TO_CLIENT,)], ids=["both ways", "to the broker", "from it"]
)
async def test_a_line_that_swallows_everything_is_given_up_and_made_anew(
    plant: Plant, directions: tuple[Direction, ...]
) -> None:
    async def swallow() -> None:
        before = len(plant.gateway.log("link_lost"))
        plant.line.black_hole(*directions)
        await plant.lost(before + 1)
        plant.line.heal()
        await asyncio.to_thread(plant.gateway.wait_online)
        await plant.outage("broker")

    await _under_load(plant, swallow, forgets=False)


async def test_a_line_that_is_cut_again_and_again_costs_nothing(plant: Plant) -> None:
    async def cut() -> None:
        for _ in range(6):
            await plant.line.reset()
            await asyncio.to_thread(plant.gateway.wait_online)

    await _under_load(plant, cut, forgets=False)


async def test_a_slow_line_costs_nothing_but_time(plant: Plant) -> None:
    async def slow() -> None:
        plant.line.slow(latency=0.05, bytes_per_second=50_000)
        await asyncio.sleep(1.5)
        plant.line.heal()

    await _under_load(plant, slow, forgets=False)


async def test_a_broker_that_stands_still_is_noticed_and_served_again(plant: Plant) -> None:
    async def stand_still() -> None:
        before = len(plant.gateway.log("link_lost"))
        plant.broker.pause()
        await plant.lost(before + 1)
        plant.broker.resume()
        await asyncio.to_thread(plant.gateway.wait_online)

    # the technician gives his connection up as well, and with it what it would have told him
    await _under_load(plant, stand_still, forgets=True)


async def test_a_rival_for_the_client_id_is_reported_and_outlived(plant: Plant) -> None:
    async def rival() -> None:
        name = await asyncio.to_thread(_client_id, plant.gateway)
        for _ in range(3):
            try:
                async with Client("127.0.0.1", plant.broker.port, identifier=name, clean_session=False):
                    await plant.lost()
            except MqttError:
                pass  # it was turned out in its turn
            await asyncio.to_thread(plant.gateway.wait_online)

    # the rival takes the gateway's messages with the session
    await _under_load(plant, rival, forgets=True)
    assert plant.gateway.log("link_lost")


@pytest.mark.parametrize("plant", [{"max_queued_messages": str(QUEUE), "sys_interval": "1"}], indirect=True)
async def test_what_the_gateways_full_queue_has_dropped_is_told_and_sent_again(plant: Plant) -> None:
    async def fill() -> None:
        async with Client("127.0.0.1", plant.broker.port) as watcher:
            await watcher.subscribe(DROPPED)
            await asyncio.to_thread(plant.gateway.terminate)
            before = int(await _value(watcher))
            # nobody else's queue is full: the technician's is read
            while int(await _value(watcher)) <= before:
                pass
        await asyncio.to_thread(plant.gateway.start)
        async with technician(plant.broker.port) as tech:
            await tech.until("gateway/health", lambda health: (health["broker"]["dropped"] or 0) > before)

    await _under_load(plant, fill, forgets=True)


async def _value(client: Client) -> bytes:
    async with asyncio.timeout(20):
        return bytes((await anext(client.messages)).payload)


def _client_id(gateway: GatewayProcess) -> str:
    with closing(sqlite3.connect(f"file:{gateway.database}?mode=ro", uri=True)) as connection:
        [(name,)] = connection.execute("SELECT value FROM identity WHERE name LIKE 'client_id %'").fetchall()
    return str(name)
