"""Devices appear in Home Assistant by themselves, change there, and disappear again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiomqtt import Client

from tests.support.broker import Broker
from tests.support.gateway_process import GatewayProcess
from tests.support.home_assistant import UNAVAILABLE, HomeAssistant
from tests.support.site import Site, site
from tests.support.technician import PATIENCE, technician

# none of it depends on where the events are
pytestmark = pytest.mark.embedded

ENABLED = {"homeassistant": {"enabled": True}}
CONFIG = "homeassistant/device/gw1__pump-7/config"
SPEED = "gw1__pump-7.reported.rpm"


class House:
    """A Home Assistant at the broker."""

    def __init__(self, client: Client) -> None:
        self.home = HomeAssistant()
        self.heard: list[str] = []
        self._client = client
        self._news = asyncio.Event()

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def greet(self) -> None:
        """As when it has started."""
        await self._client.publish("homeassistant/status", "online", qos=1)

    async def listen(self) -> None:
        async for message in self._client.messages:
            topic = message.topic.value
            if topic != "homeassistant/status":
                self.home.hear(topic, message.payload)
                self.heard.append(topic)
            self._news.set()


@asynccontextmanager
async def house(broker: Broker) -> AsyncIterator[House]:
    async with Client("127.0.0.1", broker.port, timeout=PATIENCE) as client:
        one = House(client)
        for pattern in ("edge/gw1/gateway/status", "edge/gw1/state/+", "homeassistant/#"):
            await client.subscribe(pattern, qos=1)
        listening = asyncio.create_task(one.listen())
        try:
            yield one
        finally:
            listening.cancel()
            await asyncio.wait([listening])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, ENABLED) as one:
        yield one


@asynccontextmanager
async def pump(place: Site) -> AsyncIterator[House]:
    """A house in which a pump has appeared that runs at 900 a minute."""
    async with house(place.broker) as one, place.technician() as tech:
        await tech.send("pump-7", "pump-7", "register", {"model": "T-1000"})
        await tech.send("pump-7", "pump-7", "report", {"properties": {"rpm": 900}})
        await one.until(lambda: ("sensor", SPEED) in one.home.entities and one.home.show(SPEED) == "900")
        yield one


async def test_a_device_appears_with_its_values_and_disappears_when_it_is_decommissioned(place: Site) -> None:
    async with pump(place) as one, place.technician() as tech:
        await tech.send("pump-7", "pump-7", "report", {"properties": {"rpm": 1200}})
        await one.until(lambda: one.home.show(SPEED) == "1200")
        await tech.send("alice", "pump-7", "decommission", {"reason": "scrapped"})
        await one.until(lambda: not one.home.devices)
        assert one.home.entities == {}


async def test_a_home_assistant_that_comes_later_finds_what_is_there(place: Site) -> None:
    async with pump(place):
        pass
    async with house(place.broker) as later:
        await later.until(lambda: later.home.entities and later.home.show(SPEED) == "900")


async def test_values_are_unavailable_as_soon_as_the_gateway_is_gone(place: Site) -> None:
    async with pump(place) as one:
        place.gateway.kill()
        await one.until(lambda: one.home.show(SPEED) == UNAVAILABLE)
        place.gateway.start()
        await one.until(lambda: one.home.show(SPEED) == "900")


async def test_a_home_assistant_that_starts_is_told_everything_again(place: Site) -> None:
    async with pump(place) as one:
        one.heard.clear()
        await one.greet()
        await one.until(lambda: {CONFIG, "edge/gw1/state/pump-7"} <= set(one.heard))


async def test_a_broker_that_lost_its_retained_messages_is_given_them_again(place: Site) -> None:
    async with pump(place):
        pass
    place.broker.kill()
    place.broker.forget()
    place.broker.start()
    async with house(place.broker) as one:
        await one.until(lambda: one.home.entities and one.home.show(SPEED) == "900")


async def test_a_gateway_that_does_not_know_home_assistant_any_more_takes_no_notice_of_it(tmp_path: Path) -> None:
    with site(tmp_path, ENABLED) as place:
        place.gateway.terminate()
        # the broker still has the subscription of the session
        plain = GatewayProcess(tmp_path / "gateway", place.broker.port)
        try:
            plain.start()
            async with house(place.broker) as one, technician(place.broker.port) as tech:
                await one.greet()
                await tech.send("pump-7", "pump-7", "register", {"model": "T-1000"})
                await one.until(lambda: "edge/gw1/state/pump-7" in one.heard)
                health = await tech.until("gateway/health", lambda body: "commands_accepted" in body["counters"])
                assert (one.home.devices, "dead_letters" in health["counters"]) == ({}, False)
        finally:
            plain.close()
