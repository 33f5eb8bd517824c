import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.adapters.tinydb_cache import ReadCache
from gateway.codec import EventCodec
from gateway.custom_projection import PROJECTIONS
from gateway.domain.catalogue import Catalogue
from gateway.errors import StoreUnavailable, TimedOut
from gateway.ids import event_id
from gateway.messages import Mark, RecordedEvent
from gateway.projection import Projection
from gateway.projector import SLICE, Projector
from tests.support.counter_decider import COUNTER, Counted
from tests.support.fixed_clock import FixedClock
from tests.support.memory_store import MemoryStore
from tests.support.requests import NOW, REQUEST

CATALOGUE = Catalogue([COUNTER])
CODEC = EventCodec(CATALOGUE)


class Faulty(MemoryStore):
    """Away for as long as ``outages`` lasts; then each subscription ends after its first page."""

    outages = 0

    async def head(self) -> int:
        if self.outages:
            self.outages -= 1
            raise StoreUnavailable("away")
        return await super().head()

    async def subscribe(self, *, after: int) -> AsyncGenerator[Sequence[RecordedEvent], None]:
        async for page in super().subscribe(after=after):
            yield page
            return


class Bench:
    def __init__(self, directory: Path, store: MemoryStore) -> None:
        self.store = store
        self.cache = ReadCache(directory / "readmodel.json", "log")
        self.projector = Projector(store, Projection(self.cache, CATALOGUE, CODEC), FixedClock(NOW), self._settle)
        self._count = 0
        self.settled: list[object] = []

    def _settle(self) -> None:
        self.settled.append(self.total())

    async def count(self, by: int = 1) -> None:
        request = replace(REQUEST, key=event_id("a", "c", str(self._count), 0))
        await self.store.append("counter-c", self._count - 1, CODEC.encode([Counted(at=NOW, by=by)], request, "gw1"))
        self._count += 1

    def total(self) -> object:
        return (self.cache.get("counters", "c") or {}).get("total")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.projector.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, MemoryStore())


async def test_it_catches_up_and_then_follows(bench: Bench) -> None:
    await bench.count(1)
    assert not bench.projector.caught_up.is_set()
    async with bench.running():
        await bench.projector.caught_up.wait()
        assert bench.total() == 1
        await bench.count(2)
        await bench.projector.at(2)
        assert bench.total() == 3


async def test_an_empty_log_is_caught_up_with_at_once(bench: Bench) -> None:
    async with bench.running():
        await bench.projector.caught_up.wait()


async def test_a_position_is_waited_for(bench: Bench) -> None:
    async with bench.running():
        waiting = [asyncio.create_task(bench.projector.reached(position, 5)) for position in (2, 1)]
        await bench.count()
        await waiting[1]
        assert not waiting[0].done()
        await bench.count()
        await waiting[0]
        await bench.projector.reached(1, 0)


async def test_a_position_that_is_not_reached_in_time_is_told(bench: Bench) -> None:
    async with bench.running():
        with pytest.raises(TimedOut, match="not yet at 1"):
            await bench.projector.reached(1, 0.001)
        await bench.count()  # and nobody minds that nobody waits any more
        await bench.projector.at(1)


async def test_whoever_gives_up_waiting_leaves_nothing_behind(bench: Bench) -> None:
    async with bench.running():
        patient = asyncio.create_task(bench.projector.at(2))
        for _ in range(20):
            asked = [asyncio.create_task(bench.projector.reached(10**15, 0.001)) for _ in range(50)]
            assert all(isinstance(one, TimedOut) for one in await asyncio.gather(*asked, return_exceptions=True))
        assert len(bench.projector._waiting) <= 3
        await bench.count()
        await bench.count()
        await patient
    assert len(bench.projector._waiting) <= 1


async def test_listeners_hear_of_each_touched_device_after_the_cache_has_it(bench: Bench) -> None:
    heard: list[tuple[str, object]] = []
    bench.projector.listeners.append(lambda touched: heard.extend((device, bench.total()) for _, device in touched))
    await bench.count(2)
    await bench.count(3)
    async with bench.running():
        await bench.projector.at(2)
    assert heard == [("c", 5)]


async def test_others_get_on_while_a_long_batch_is_folded(bench: Bench) -> None:
    for _ in range(2 * SLICE + 1):
        await bench.count()
    seen: list[int] = []
    async with bench.running():
        while bench.projector.position < 2 * SLICE + 1:
            seen.append(bench.projector.position)
            await asyncio.sleep(0)
    assert {SLICE, 2 * SLICE} <= set(seen)


async def test_a_cache_of_another_log_is_folded_anew(bench: Bench) -> None:
    await bench.count(2)
    bench.projector._projection.clear("another-log")
    bench.cache.advance(1, Mark.of((await bench.store.read_all(after=0))[0]))
    async with bench.running():
        await asyncio.wait_for(bench.projector.caught_up.wait(), 5)
    assert (bench.projector.position, bench.total()) == (1, 2)
    assert bench.projector._projection.cache.log_id == await bench.store.identify()


@pytest.mark.parametrize("since", [0, 1, 3])
async def test_a_cache_of_what_the_log_has_lost_is_folded_anew_however_far_the_log_has_grown_since(
    tmp_path: Path, since: int
) -> None:
    lost = Bench(tmp_path, MemoryStore())
    for by in (2, 10, 100):
        await lost.count(by)
    lost.projector._projection.apply(await lost.store.read_all(after=0))
    bench = Bench(tmp_path, MemoryStore())
    bench.projector = Projector(bench.store, lost.projector._projection, FixedClock(NOW))
    await bench.count(2)
    # the same commands again, so the same ids
    for _ in range(since):
        await bench.count(1)
    lost.cache.log_id = await bench.store.identify()
    async with bench.running():
        await asyncio.wait_for(bench.projector.caught_up.wait(), 5)
    assert lost.total() == 2 + since


async def test_a_cache_whose_mark_stands_in_the_log_is_gone_on_with(bench: Bench) -> None:
    await bench.count(2)
    bench.projector._projection.clear(await bench.store.identify())
    bench.cache.put("counters", "seen", {"id": "seen", "total": 0, "degraded": False})
    bench.cache.advance(1, Mark.of((await bench.store.read_all(after=0))[0]))
    async with bench.running():
        await asyncio.wait_for(bench.projector.caught_up.wait(), 5)
    assert bench.cache.get("counters", "seen")


async def test_a_cache_of_other_projections_is_dropped_before_anybody_can_ask_it(bench: Bench) -> None:
    bench.cache.put(PROJECTIONS, "old", {"id": "old", "version": 1, "failed": None})
    bench.cache.put("counters", "c", {"id": "c", "total": 7, "degraded": False})
    bench.cache.advance(7)
    async with bench.running():
        await asyncio.sleep(0)
        assert (bench.total(), bench.projector.position) == (None, 0)


async def test_a_rebuild_folds_everything_again(bench: Bench) -> None:
    await bench.count(2)
    async with bench.running():
        await bench.projector.at(1)
        bench.cache.put("counters", "c", {"id": "c", "total": -1, "degraded": False})
        bench.cache.put("counters", "ghost", {"id": "ghost"})
        bench.projector.rebuild()
        while bench.total() != 2:
            await asyncio.sleep(0)
        await bench.projector.caught_up.wait()
        assert bench.cache.get("counters", "ghost") is None
        await bench.count(3)
        await bench.projector.at(2)
    assert bench.total() == 5


async def test_that_it_has_caught_up_is_told_once_and_once_more_after_a_rebuild(tmp_path: Path) -> None:
    # each subscription ends, and the next one has nothing to catch up with
    bench = Bench(tmp_path, Faulty())
    await bench.count(2)
    async with bench.running():
        for _ in range(3):
            await bench.projector.caught_up.wait()
            await bench.count()
            await bench.projector.at(len(bench.store.events))
        assert bench.settled == [2]
        bench.projector.rebuild()
        while len(bench.settled) == 1:
            await asyncio.sleep(0)
    assert bench.settled == [2, 5]


async def test_an_outage_of_the_store_is_outlived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.projector._SHORTEST_PAUSE", 0.001)
    store = Faulty()
    store.outages = 2
    bench = Bench(tmp_path, store)
    await bench.count(2)
    with capture_logs() as lines:
        async with bench.running():
            await bench.projector.at(1)
            await bench.count(3)  # the subscription has ended by now, and another one goes on
            await bench.projector.at(2)
    assert bench.total() == 5
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["projector_waits_for_store"] * 2


class BreaksOff(MemoryStore):
    """Goes away after each page."""

    async def subscribe(self, *, after: int) -> AsyncGenerator[Sequence[RecordedEvent], None]:
        async for page in super().subscribe(after=after):
            yield page
            raise StoreUnavailable("away")


async def test_an_outage_after_progress_is_met_with_the_shortest_pause_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.projector._SHORTEST_PAUSE", 0.001)
    bench = Bench(tmp_path, BreaksOff())
    with capture_logs() as lines:
        async with bench.running():
            for position in (1, 2, 3):
                await bench.count()
                await bench.projector.at(position)
                while len([line for line in lines if "next_try_s" in line]) < position:
                    await asyncio.sleep(0)
    assert [line["next_try_s"] for line in lines if "next_try_s" in line] == [0.001] * 3


async def test_a_cache_with_a_damaged_document_is_made_anew_from_the_log(bench: Bench) -> None:
    await bench.count(2)
    bench.cache.put("counters", "c", {"id": "c", "total": "many", "degraded": False})
    bench.cache.advance(1)
    with capture_logs() as lines:
        async with bench.running():
            await bench.projector.caught_up.wait()
    assert bench.total() == 2
    assert lines[0]["event"] == "read_cache_dropped"
