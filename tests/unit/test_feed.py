import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from structlog.testing import capture_logs

from gateway.codec import EventCodec
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Event
from gateway.domain.device import DEVICE
from gateway.domain.device_events import DeviceConnected, DeviceRegistered
from gateway.errors import LinkLost, PublishRefused
from gateway.feed import WINDOW, Feed, cloud_event
from gateway.heartbeats import Heartbeats
from gateway.ids import event_id
from gateway.messages import NewEvent
from gateway.projector import Projector
from gateway.pulses import STEP, Outside, of_feed
from gateway.topics import Topics
from tests.support.memory_store import MemoryStore
from tests.support.recording_publisher import RecordingPublisher, fail
from tests.support.requests import NOW, REQUEST

CATALOGUE = Catalogue([DEVICE])
CODEC = EventCodec(CATALOGUE)
REGISTERED = DeviceRegistered(at=NOW, model="T")
CONNECTED = DeviceConnected(at=NOW)

CURSOR = "feed a-log-in-memory-only"


class Cursors:
    def __init__(self) -> None:
        self.saved: dict[str, int] = {}

    async def load_cursor(self, name: str) -> int | None:
        return self.saved.get(name)

    async def save_cursor(self, name: str, position: int) -> None:
        self.saved[name] = position


class Bench:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.publisher = RecordingPublisher()
        self.cursors = Cursors()
        self.cursors.saved[CURSOR] = 0
        self.projected_up_to = 1_000_000
        self._count = 0
        self.feed = self.fresh()

    def fresh(self) -> Feed:
        """The feed of a new process."""
        return Feed(
            self.store,
            self.cursors,
            self.publisher,
            catalogue=CATALOGUE,
            topics=Topics("edge/gw1"),
            projected=self._projected,
        )

    async def _projected(self, position: int) -> None:
        while position > self.projected_up_to:
            await asyncio.sleep(0)

    async def happen(self, *happened: Event, device: str = "p") -> None:
        self._count += 1
        command_id = f"c-{self._count}"
        request = replace(REQUEST, device=device, key=event_id("alice", device, command_id, 0), command_id=command_id)
        stream = await self.store.read_stream(f"device-{device}")
        await self.store.append(f"device-{device}", len(stream) - 1, CODEC.encode(happened, request, "gw1"))

    def positions(self) -> list[int]:
        return [int(orjson.loads(one.payload)["position"]) for one in self.publisher.published]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.feed.connected()
        task = asyncio.create_task(self.feed.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def settled() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def test_every_event_is_published_in_order_and_the_cursor_follows(bench: Bench) -> None:
    await bench.happen(REGISTERED, CONNECTED)
    async with bench.running():
        await settled()
        await bench.happen(CONNECTED)
        await settled()
    assert bench.publisher.topics() == [
        "edge/gw1/event/p/DeviceRegistered",
        "edge/gw1/event/p/DeviceConnected",
        "edge/gw1/event/p/DeviceConnected",
    ]
    assert bench.positions() == [1, 2, 3]
    assert bench.feed.position == 3
    assert not any(one.retain for one in bench.publisher.published)


async def test_an_independent_reader_understands_the_event(bench: Bench) -> None:
    await bench.happen(REGISTERED)
    async with bench.running():
        await settled()
    [message] = bench.publisher.published
    assert message.properties.content_type == "application/cloudevents+json"
    event = JSONFormat().read(CloudEvent, message.payload)
    [recorded] = bench.store.events
    assert event.get_id() == str(recorded.id)
    assert event.get_type() == "DeviceRegistered"
    assert event.get_source() == "/edge/gw1/device/p"
    assert event.get_subject() == "p"
    assert event.get_time() == recorded.recorded_at
    assert event.get_data() == {"at": "2026-03-01T12:00:00Z", "model": "T"}
    assert event.get_extension("revision") == "0"
    assert event.get_extension("actor") == "alice"
    assert event.get_extension("commandid") == "c-1"


async def test_metadata_that_are_missing_are_left_out(bench: Bench) -> None:
    await bench.happen(REGISTERED)
    [recorded] = bench.store.events
    told: dict[str, Any] = orjson.loads(cloud_event(replace(recorded, metadata=b"{}"), "p", "/x"))
    assert {"actor", "commandid", "traceparent"}.isdisjoint(told)


async def test_no_event_is_published_before_the_read_cache_shows_it(bench: Bench) -> None:
    bench.projected_up_to = 0
    await bench.happen(REGISTERED)
    async with bench.running():
        await settled()
        assert not bench.publisher.published
        assert bench.feed.wanted == 1
        bench.projected_up_to = 1
        await settled()
        assert bench.positions() == [1]


async def test_the_first_feed_of_a_log_begins_at_its_end(bench: Bench) -> None:
    del bench.cursors.saved[CURSOR]
    await bench.happen(REGISTERED)
    async with bench.running():
        await settled()
        await bench.happen(CONNECTED)
        await settled()
    assert bench.positions() == [2]


async def test_only_so_many_are_unconfirmed_and_the_cursor_moves_only_over_what_is_confirmed(bench: Bench) -> None:
    bench.publisher.confirms = False
    await bench.happen(REGISTERED, *[CONNECTED] * (WINDOW + 5))
    async with bench.running():
        await settled()
        assert len(bench.publisher.published) == WINDOW
        bench.publisher.published[1].future.set_result(None)
        await settled()
        assert bench.feed.position == 0
        bench.publisher.published[0].future.set_result(None)
        await settled()
        assert bench.feed.position == 2


async def test_after_a_lost_connection_it_goes_on_behind_the_last_confirmed_event(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.feed._LINK_PAUSE", 0)
    bench.publisher.confirms = False
    await bench.happen(REGISTERED, CONNECTED, CONNECTED)
    async with bench.running():
        await settled()
        first, *others = bench.publisher.published
        first.future.set_result(None)
        bench.feed.lost()
        for other in others:
            fail(other.future, LinkLost("gone"))
        await settled()
        bench.publisher.published.clear()
        bench.publisher.confirms = True
        bench.feed.connected()
        await settled()
    assert bench.positions() == [2, 3]
    assert (bench.feed.position, bench.feed.attempts) == (3, 2)


async def test_a_link_that_is_down_without_having_said_so_does_not_keep_the_loop_busy(bench: Bench) -> None:
    bench.publisher.is_up = False
    await bench.happen(REGISTERED)
    async with bench.running():
        await asyncio.wait_for(settled(), 5)  # it would never come back
        assert bench.feed.position == 0


async def test_an_event_that_the_broker_refuses_is_told_and_passed_over(bench: Bench) -> None:
    bench.publisher.confirms = False
    await bench.happen(REGISTERED, CONNECTED)
    with capture_logs() as lines:
        async with bench.running():
            await settled()
            fail(bench.publisher.published[0].future, PublishRefused("not authorised"))
            bench.publisher.published[1].future.set_result(None)
            await settled()
    assert [line["event"] for line in lines] == ["event_refused_by_broker"]
    assert bench.feed.position == 2


async def test_a_foreign_stream_is_passed_over(bench: Bench) -> None:
    await bench.store.append("$system", -1, [NewEvent(REQUEST.key, "Other", b"{}", b"{}")])
    async with bench.running():
        await settled()
    assert not bench.publisher.published
    assert bench.feed.position == 1


async def test_the_saved_cursor_is_where_the_next_process_begins(bench: Bench) -> None:
    await bench.happen(REGISTERED)
    async with bench.running():
        await settled()
    await bench.feed.save()
    assert bench.cursors.saved == {CURSOR: 1}
    await bench.happen(CONNECTED)
    bench.publisher.published.clear()
    bench.feed = bench.fresh()
    async with bench.running():
        await settled()
    assert bench.positions() == [2]


async def test_the_cursor_is_saved_when_it_moved_and_not_while_idle(bench: Bench) -> None:
    async with bench.running():
        saving = asyncio.create_task(bench.feed.keep_saved(0))
        await settled()
        assert bench.cursors.saved == {CURSOR: 0}
        await bench.happen(REGISTERED)
        while bench.cursors.saved != {CURSOR: 1}:
            await asyncio.sleep(0)
        saving.cancel()
        await asyncio.wait([saving])


async def test_a_cursor_beyond_the_end_of_a_restored_log_goes_on_from_its_end(bench: Bench) -> None:
    bench.cursors.saved[CURSOR] = 1_000
    async with bench.running():
        while bench.cursors.saved[CURSOR] == 1_000:
            await asyncio.sleep(0)
    assert bench.cursors.saved[CURSOR] == await bench.store.head()


async def test_a_feed_that_waits_for_a_confirmation_that_got_lost_is_stuck_and_one_before_a_silent_broker_is_not(
    bench: Bench,
) -> None:
    bench.publisher.confirms = False
    await bench.happen(REGISTERED, CONNECTED)
    now = [0.0]
    link = SimpleNamespace(is_up=True, attempts=1)
    outside = Outside(bench.store, "device-p", lambda: bench.publisher.publish("health", b"{}"))
    pulse = of_feed(bench.feed, cast("Projector", SimpleNamespace(position=2)), link, outside)
    hearts = Heartbeats({}, {"feed": pulse}, lambda: now[0], patience=0.01)
    async with bench.running():
        await settled()
        assert await hearts.all_there()
        now[0] += STEP + 1
        assert await hearts.all_there()
        bench.publisher.confirms = True
        now[0] += STEP - 1
        assert await hearts.all_there()
        now[0] += STEP + 2
        assert (await hearts.all_there(), hearts.missing) == (False, ("feed",))
        for one in bench.publisher.published[:2]:
            one.future.set_result(None)
        await settled()
        assert await hearts.all_there()
