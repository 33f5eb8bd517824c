import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from gateway.adapters.tinydb_cache import ReadCache
from gateway.codec import EventCodec
from gateway.domain import device_events as events
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Decider, Document, Event
from gateway.domain.device import DEVICE
from gateway.errors import LinkLost, PublishRefused
from gateway.messages import RecordedEvent
from gateway.projection import Projection
from gateway.retained import WINDOW, Retained
from gateway.topics import Topics
from tests.support.recording_publisher import RecordingPublisher, fail
from tests.support.requests import NOW, REQUEST

CATALOGUE = Catalogue([DEVICE])
CODEC = EventCodec(CATALOGUE)
TOPICS = Topics("edge/gw1")


class Bench:
    """Events go in at one end, retained messages come out at the other."""

    def __init__(self, directory: Path, *, announces: bool = False) -> None:
        self.publisher = RecordingPublisher()
        cache = ReadCache(directory / "readmodel.json", "log")
        self.projection = Projection(cache, CATALOGUE, CODEC)
        self.ready = asyncio.Event()
        self.ready.set()
        self.retained = Retained(
            self.publisher,
            self.projection,
            CATALOGUE,
            TOPICS,
            ready=self.ready,
            announce=_announce if announces else None,
        )

    def happen(self, device: str, *happened: Event) -> None:
        document = self.projection.cache.get("devices", device)
        revision = int(str(document["revision"])) if document else -1
        new = CODEC.encode(happened, replace(REQUEST, device=device), "gw1")
        position = self.projection.cache.position
        recorded = [
            RecordedEvent(
                position + n, f"device-{device}", revision + n, NOW, event.id, event.type, event.data, event.metadata
            )
            for n, event in enumerate(new, start=1)
        ]
        self.retained.projected(self.projection.apply(recorded))

    def states(self, device: str) -> list[dict[str, Any]]:
        return [orjson.loads(payload) if payload else {} for payload in self.publisher.payloads(TOPICS.state(device))]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.retained.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


def _announce(_decider: Decider[Any], document: Document) -> tuple[str, bytes]:
    gone = document["status"] == "decommissioned"
    return f"find/{document['id']}", b"" if gone else str(document["firmware"]).encode()


@pytest.fixture
async def announcing(tmp_path: Path) -> Bench:
    return Bench(tmp_path, announces=True)


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(200):
        await asyncio.sleep(0)


REGISTERED = events.DeviceRegistered(at=NOW, model="T")
CONNECTED = events.DeviceConnected(at=NOW)
REQUESTED = events.ConfigurationRequested(at=NOW, configuration=1, properties={"rpm": 1200})
WITHDRAWN = events.ConfigurationRequested(at=NOW, configuration=2, properties={"rpm": None})
DECOMMISSIONED = events.DeviceDecommissioned(at=NOW, reason="old")


async def test_state_is_the_document_of_the_read_cache_retained(bench: Bench) -> None:
    async with bench.running():
        bench.retained.connected()
        bench.happen("p", REGISTERED)
        await settled()
    [message] = bench.publisher.published
    assert (message.topic, message.retain) == ("edge/gw1/state/p", True)
    assert orjson.loads(message.payload) == bench.projection.cache.get("devices", "p")
    assert message.properties.content_type == "application/json"


async def test_only_the_newest_document_of_a_device_is_sent(bench: Bench) -> None:
    async with bench.running():
        bench.happen("p", REGISTERED)
        bench.happen("p", CONNECTED)
        bench.retained.connected()
        await settled()
    assert [state["revision"] for state in bench.states("p")] == [1]


async def test_a_wish_is_retained_for_the_device_and_removed_when_it_is_withdrawn(bench: Bench) -> None:
    async with bench.running():
        bench.retained.connected()
        bench.happen("p", REGISTERED, REQUESTED)
        await settled()
        bench.happen("p", WITHDRAWN)
        await settled()
    first, second = bench.publisher.payloads(TOPICS.config("p"))
    assert orjson.loads(first) == {"version": 1, "properties": {"rpm": 1200}}
    assert second == b""


async def test_nothing_is_retained_for_a_device_that_is_gone(bench: Bench) -> None:
    async with bench.running():
        bench.retained.connected()
        bench.happen("p", REGISTERED, REQUESTED, DECOMMISSIONED)
        await settled()
    assert bench.publisher.payloads(TOPICS.state("p")) == [b""]
    assert bench.publisher.payloads(TOPICS.config("p")) == [b""]


async def test_everything_is_sent_again_on_a_new_connection_what_changed_first(bench: Bench) -> None:
    async with bench.running():
        for device in ("a", "b", "c"):
            bench.happen(device, REGISTERED)
        bench.retained.connected()
        await settled()
        bench.publisher.published.clear()
        bench.retained.lost()
        bench.happen("c", CONNECTED)
        await settled()
        assert not bench.publisher.published
        bench.retained.connected()
        await settled()
    assert bench.publisher.topics() == [TOPICS.state(device) for device in ("c", "a", "b")]
    assert bench.retained.waiting == 0


async def test_nothing_old_is_sent_while_the_read_cache_is_catching_up(bench: Bench) -> None:
    bench.ready.clear()
    async with bench.running():
        bench.retained.connected()
        bench.happen("p", REGISTERED)
        await settled()
        assert not bench.publisher.published
        bench.happen("p", CONNECTED)
        bench.ready.set()
        await settled()
    assert [state["revision"] for state in bench.states("p")] == [1]


async def test_nothing_is_sent_from_a_rebuild_that_began_while_the_way_was_full(bench: Bench) -> None:
    bench.publisher.confirms = False
    async with bench.running():
        for number in range(WINDOW + 2):
            bench.happen(f"p{number}", REGISTERED)
        bench.retained.connected()
        await settled()
        bench.ready.clear()
        bench.publisher.published[0].future.set_result(None)
        await settled()
        assert len(bench.publisher.published) == WINDOW
        bench.ready.set()
        await settled()
        assert len(bench.publisher.published) == WINDOW + 1


async def test_only_so_many_devices_are_on_their_way_at_once(bench: Bench) -> None:
    bench.publisher.confirms = False
    async with bench.running():
        for number in range(WINDOW + 5):
            bench.happen(f"p{number}", REGISTERED)
        bench.retained.connected()
        await settled()
        assert len(bench.publisher.published) == WINDOW
        bench.publisher.published[0].future.set_result(None)
        await settled()
        assert len(bench.publisher.published) == WINDOW + 1


async def test_a_lost_connection_frees_the_way_and_the_next_one_brings_it_all(bench: Bench) -> None:
    bench.publisher.confirms = False
    async with bench.running():
        for number in range(WINDOW):
            bench.happen(f"p{number}", REGISTERED)
        bench.retained.connected()
        await settled()
        for message in bench.publisher.published:
            fail(message.future, LinkLost("gone"))
        bench.retained.lost()
        await settled()
        bench.publisher.published.clear()
        bench.retained.connected()
        await settled()
        assert len(bench.publisher.published) == WINDOW


async def test_a_refusal_of_the_broker_is_told_and_does_not_block_the_others(bench: Bench) -> None:
    bench.publisher.confirms = False
    with capture_logs() as lines:
        async with bench.running():
            bench.happen("p", REGISTERED)
            bench.retained.connected()
            await settled()
            fail(bench.publisher.published[0].future, PublishRefused("not authorised"))
            bench.happen("q", REGISTERED)
            await settled()
    assert [line["event"] for line in lines] == ["retained_refused_by_broker"]
    assert bench.states("q")


async def test_refusals_are_told_once_for_each_kind_of_message_and_connection(bench: Bench) -> None:
    bench.publisher.confirms = False
    with capture_logs() as lines:
        async with bench.running():
            for device in ("p", "q"):
                bench.happen(device, REGISTERED, REQUESTED)
            for _connection in range(2):
                bench.retained.connected()
                await settled()
                for message in bench.publisher.published:
                    fail(message.future, PublishRefused("not authorised"))
                bench.publisher.published.clear()
                await settled()
    assert [line["kind"] for line in lines] == ["state", "config"] * 2


async def test_a_device_is_announced_before_its_state_and_again_only_when_something_changes(announcing: Bench) -> None:
    async with announcing.running():
        announcing.retained.connected()
        for happened in (REGISTERED, CONNECTED, events.FirmwareChanged(at=NOW, firmware="2")):
            announcing.happen("p", happened)
            await settled()
    state = TOPICS.state("p")
    assert announcing.publisher.topics() == ["find/p", state, state, "find/p", state]
    assert announcing.publisher.payloads("find/p") == [b"None", b"2"]
    assert all(message.retain for message in announcing.publisher.published)


async def test_an_announcement_is_removed_before_the_state_is(announcing: Bench) -> None:
    async with announcing.running():
        announcing.retained.connected()
        announcing.happen("p", REGISTERED, DECOMMISSIONED)
        await settled()
    assert announcing.publisher.topics() == ["find/p", TOPICS.state("p")]
    assert announcing.publisher.payloads("find/p") == [b""]


@pytest.mark.parametrize("why", ["a new connection", "somebody asks"])
async def test_everything_is_announced_again(announcing: Bench, why: str) -> None:
    async with announcing.running():
        announcing.happen("p", REGISTERED)
        announcing.retained.connected()
        await settled()
        announcing.publisher.published.clear()
        if why == "a new connection":
            announcing.retained.lost()
            announcing.retained.connected()
        else:
            announcing.retained.send_again()
        await settled()
    assert announcing.publisher.topics() == ["find/p", TOPICS.state("p")]
