import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from gateway.aggregates import Aggregates
from gateway.codec import EventCodec
from gateway.domain.catalogue import Catalogue
from gateway.domain.device import DEVICE
from gateway.domain.device_events import DeviceRegistered, PropertiesReported
from gateway.errors import StoreUnavailable
from gateway.ids import event_id
from gateway.messages import NO_STREAM, Aggregate, RecordedEvent, Snapshot
from tests.support.memory_store import MemorySnapshots, MemoryStore
from tests.support.requests import NOW, REQUEST

CODEC = EventCodec(Catalogue([DEVICE]))


class CountingStore(MemoryStore):
    """Counts how often a stream is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def read_stream(self, stream: str, *, after: int = NO_STREAM, limit: int = 1_000) -> Sequence[RecordedEvent]:
        self.reads += 1
        return await super().read_stream(stream, after=after, limit=limit)


class KeepsNoSnapshots(MemorySnapshots):
    async def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        raise StoreUnavailable(f"{stream} {snapshot}")


async def fill(store: MemoryStore, device: str, reports: int = 0) -> None:
    events = [DeviceRegistered(at=NOW, model="T")]
    events += [PropertiesReported(at=NOW, properties={"n": number}) for number in range(reports)]  # type: ignore[misc]
    request = replace(REQUEST, device=device, key=event_id("alice", device, "c-1", 0))
    await store.append(f"device-{device}", NO_STREAM, CODEC.encode(events, request, "gw1"))


async def test_a_loaded_aggregate_is_not_read_again_until_it_is_forgotten() -> None:
    store = CountingStore()
    await fill(store, "p")
    aggregates = Aggregates(store, MemorySnapshots(), CODEC, capacity=10, snapshot_every=1_000)
    assert (await aggregates.load(DEVICE, "device-p")).revision == 0
    await aggregates.load(DEVICE, "device-p")
    assert store.reads == 1
    aggregates.forget("device-p")
    await aggregates.load(DEVICE, "device-p")
    assert store.reads == 2


async def test_what_was_left_behind_lately_is_at_hand_for_those_who_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.aggregates.PASSED", 2)
    store = MemoryStore()
    await fill(store, "p")
    aggregates = Aggregates(store, MemorySnapshots(), CODEC, capacity=2, snapshot_every=1_000)
    first = await aggregates.load(DEVICE, "device-p")
    later = [replace(first, revision=revision) for revision in range(1, 5)]
    for aggregate in later:
        await aggregates.advance(DEVICE, "device-p", aggregate, UUID(int=1))
    # the newest, two before it, and no more
    found = [aggregates.at_hand("device-p", revision) for revision in range(6)]
    assert found == [None, None, *later[1:], None]
    aggregates.forget("device-p")
    assert not any(aggregates.at_hand("device-p", revision) for revision in range(6))


async def test_only_so_many_are_remembered_and_the_least_recently_used_goes_first() -> None:
    store = CountingStore()
    aggregates = Aggregates(store, MemorySnapshots(), CODEC, capacity=2, snapshot_every=1_000)
    for device in ("a", "b", "a", "c"):
        await aggregates.load(DEVICE, f"device-{device}")
    reads = store.reads
    await aggregates.load(DEVICE, "device-a")
    assert store.reads == reads
    await aggregates.load(DEVICE, "device-b")
    assert store.reads == reads + 1


async def test_an_unknown_device_is_the_initial_state_of_no_stream() -> None:
    aggregates = Aggregates(MemoryStore(), MemorySnapshots(), CODEC, capacity=2, snapshot_every=1_000)
    assert await aggregates.load(DEVICE, "device-p") == Aggregate(DEVICE.initial, NO_STREAM)


async def test_a_long_stream_is_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.aggregates.PAGE", 3)
    store = CountingStore()
    await fill(store, "p", reports=7)
    aggregate = await Aggregates(store, MemorySnapshots(), CODEC, capacity=2, snapshot_every=1_000).load(
        DEVICE, "device-p"
    )
    assert (aggregate.revision, aggregate.state.reported) == (7, {"n": 6})
    assert store.reads == 3


class StopsAt(CountingStore):
    """Does not answer the read with this number, once."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.stopped = asyncio.Event()

    async def read_stream(self, stream: str, *, after: int = NO_STREAM, limit: int = 1_000) -> Sequence[RecordedEvent]:
        found = await super().read_stream(stream, after=after, limit=limit)
        if self.reads == self.number:
            self.stopped.set()
            await asyncio.Event().wait()
        return found


async def test_a_read_that_is_cut_off_goes_on_from_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.aggregates.PAGE", 3)
    monkeypatch.setattr("gateway.aggregates.LONG", 2)
    store, snapshots = StopsAt(6), MemorySnapshots()
    await fill(store, "p", reports=31)
    aggregates = Aggregates(store, snapshots, CODEC, capacity=2, snapshot_every=1_000)
    reading = asyncio.create_task(aggregates.load(DEVICE, "device-p"))
    await store.stopped.wait()
    assert aggregates.being_read == {"device-p"}
    reading.cancel()
    await asyncio.wait([reading])
    assert aggregates.being_read == {"device-p"}
    before = store.reads

    loaded = await aggregates.load(DEVICE, "device-p")

    assert (loaded.revision, loaded.state.reported) == (31, {"n": 30})
    # eleven pages from the beginning; four of them need not be read again, and one read proves where it goes on
    assert store.reads - before == 11 - 4 + 1
    assert aggregates.being_read == set()


async def test_a_short_stream_is_no_long_work() -> None:
    store = StopsAt(1)
    await fill(store, "p", reports=3)
    aggregates = Aggregates(store, MemorySnapshots(), CODEC, capacity=2, snapshot_every=1_000)
    reading = asyncio.create_task(aggregates.load(DEVICE, "device-p"))
    await store.stopped.wait()
    reading.cancel()
    await asyncio.wait([reading])
    assert aggregates.being_read == set()


async def test_a_snapshot_that_cannot_be_kept_does_not_stop_the_command() -> None:
    store = MemoryStore()
    await fill(store, "p")
    aggregates = Aggregates(store, KeepsNoSnapshots(), CODEC, capacity=2, snapshot_every=10)
    aggregate = await aggregates.load(DEVICE, "device-p")
    await aggregates.advance(DEVICE, "device-p", replace(aggregate, revision=10), UUID(int=10))
    assert (await aggregates.load(DEVICE, "device-p")).revision == 10


async def test_a_snapshot_whose_event_is_not_where_it_says_is_not_used() -> None:
    store, snapshots = MemoryStore(), MemorySnapshots()
    await fill(store, "p", reports=3)
    right = Aggregates(store, snapshots, CODEC, capacity=2, snapshot_every=2)
    aggregate = await right.load(DEVICE, "device-p")
    await right.advance(DEVICE, "device-p", replace(aggregate, revision=4), UUID(int=4))

    loaded = await Aggregates(store, snapshots, CODEC, capacity=2, snapshot_every=2).load(DEVICE, "device-p")
    assert (loaded.revision, loaded.state.reported) == (3, {"n": 2})
