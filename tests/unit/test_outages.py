import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway import outages
from gateway.adapters.clock import SystemClock
from gateway.adapters.tinydb_cache import ReadCache
from gateway.aggregates import Aggregates
from gateway.codec import EventCodec
from gateway.domain.catalogue import Catalogue
from gateway.domain.outages import GATEWAY
from gateway.errors import StoreUnavailable
from gateway.handler import Handler
from gateway.messages import Appended, NewEvent
from gateway.outages import OutageLedger
from gateway.projection import Projection
from tests.support.memory_outages import MemoryPendingOutages
from tests.support.memory_outcomes import MemoryOutcomes
from tests.support.memory_store import MemorySnapshots, MemoryStore

CATALOGUE = Catalogue([GATEWAY])
CODEC = EventCodec(CATALOGUE)
AT_ONCE = 0.001
NEVER = 3_600.0


class AwayStore(MemoryStore):
    """A store that is away when told so, or commits and hides it."""

    away = False
    answers_lost = 0
    held_up: asyncio.Event | None = None
    asked = False

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        if self.away:
            raise StoreUnavailable("away")
        if self.held_up is not None:
            self.asked = True
            await self.held_up.wait()
        appended = await super().append(stream, expected, events)
        if self.answers_lost:
            self.answers_lost -= 1
            raise StoreUnavailable("no answer")
        return appended


class Bench:
    def __init__(self, directory: Path) -> None:
        self.store = AwayStore()
        self.rows = MemoryPendingOutages()
        self.cache = ReadCache(directory / "readmodel.json", "log")
        self.restart()

    def restart(self, settle: float = AT_ONCE) -> OutageLedger:
        """Forget all that is not kept."""
        aggregates = Aggregates(self.store, MemorySnapshots(), CODEC, capacity=10, snapshot_every=100)
        encode = partial(CODEC.encode, gateway="gw1")
        clock = SystemClock()
        handler = Handler(self.store, MemoryOutcomes(self.store), aggregates, encode, clock)
        self.ledger = OutageLedger(self.rows, handler, self.cache, clock, gateway="gw1", settle=settle)
        return self.ledger

    @asynccontextmanager
    async def running(self) -> AsyncIterator[OutageLedger]:
        await self.ledger.load()
        task = asyncio.create_task(self.ledger.run())
        try:
            yield self.ledger
        finally:
            task.cancel()
            await asyncio.wait([task])

    def recorded(self) -> list[dict[str, Any]]:
        return [orjson.loads(event.data) for event in self.store.events]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.001)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(outages, "RETRY", 0.001)
    return Bench(tmp_path)


async def test_an_outage_that_is_over_is_recorded_in_the_gateways_own_stream(bench: Bench) -> None:
    async with bench.running() as ledger:
        ledger.begin("broker", "refused")
        ledger.end("broker", "states were late")
        await bench.until(lambda: not ledger.pending)
    (event,) = bench.store.events
    assert (event.stream, event.type) == ("gateway-gw1", "OutageRecorded")
    (told,) = bench.recorded()
    assert (told["kind"], told["cause"], told["affected"]) == ("broker", "refused", "states were late")
    assert datetime.fromisoformat(told["began_at"]) <= datetime.fromisoformat(told["ended_at"]) <= datetime.now(UTC)
    assert not bench.rows.kept


async def test_an_outage_that_goes_on_is_kept_and_not_recorded(bench: Bench) -> None:
    async with bench.running() as ledger:
        ledger.begin("store", "away")
        ledger.begin("store", "still away")
        await bench.until(lambda: bool(bench.rows.kept))
        (outage,) = ledger.pending
        assert (outage.ended_at, outage.times, outage.cause) == (None, 1, "away")
    assert not bench.store.events


async def test_what_comes_back_before_it_has_settled_is_the_same_outage(bench: Bench) -> None:
    ledger = bench.restart(settle=NEVER)
    ledger.begin("broker", "first")
    began = ledger.began("broker")
    for cause in ("second", "third"):
        ledger.end("broker", "")
        ledger.begin("broker", cause)
    (outage,) = ledger.pending
    assert (outage.times, outage.cause, outage.began_at, outage.ended_at) == (3, "third", began, None)


async def test_outages_of_different_kinds_are_different_ones(bench: Bench) -> None:
    ledger = bench.restart(settle=NEVER)
    ledger.begin("broker", "x")
    ledger.begin("store", "y")
    ledger.end("store", "")
    assert [(one.kind, one.ended_at is None) for one in ledger.pending] == [("broker", True), ("store", False)]


async def test_of_a_cause_of_many_words_the_first_are_kept(bench: Bench) -> None:
    ledger = bench.restart(settle=NEVER)
    ledger.begin("store", "x" * 10_000)
    (outage,) = ledger.pending
    assert outage.cause == "x" * 256


async def test_an_end_without_a_begin_is_nothing(bench: Bench) -> None:
    bench.ledger.end("broker", "")
    assert not bench.ledger.pending


async def test_what_is_over_already_when_it_is_noticed_is_recorded_too(bench: Bench) -> None:
    earlier = datetime.now(UTC) - timedelta(hours=1)
    async with bench.running() as ledger:
        ledger.note("crash", earlier, "killed", "nothing")
        await bench.until(lambda: not ledger.pending)
    (told,) = bench.recorded()
    assert datetime.fromisoformat(told["began_at"]) == earlier


async def test_what_is_noted_twice_before_it_has_settled_is_counted(bench: Bench) -> None:
    ledger = bench.restart(settle=NEVER)
    earlier = datetime.now(UTC)
    ledger.note("clock", earlier, "+1 h", "")
    ledger.note("clock", datetime.now(UTC), "-1 h", "")
    (outage,) = ledger.pending
    assert (outage.times, outage.began_at, outage.cause) == (2, earlier, "-1 h")


async def test_an_outage_that_went_on_at_the_end_of_a_run_goes_on_in_the_next(bench: Bench) -> None:
    ledger = bench.restart(settle=NEVER)
    ledger.begin("broker", "first")
    await ledger.save()
    (before,) = ledger.pending
    ledger = bench.restart(settle=NEVER)
    await ledger.load()
    ledger.begin("broker", "second")
    (after,) = ledger.pending
    assert (after.id, after.began_at, after.times, after.ended_at) == (before.id, before.began_at, 2, None)


async def test_an_outage_that_was_over_at_the_end_of_a_run_is_recorded_by_the_next_and_changes_no_more(
    bench: Bench,
) -> None:
    ledger = bench.restart(settle=NEVER)
    ledger.begin("broker", "first")
    ledger.end("broker", "")
    await ledger.save()
    bench.restart()
    async with bench.running() as ledger:
        ledger.begin("broker", "another")
        await bench.until(lambda: len(bench.store.events) == 1)
        assert [outage.cause for outage in ledger.pending] == ["another"]
    assert [told["cause"] for told in bench.recorded()] == ["first"]


async def test_an_outage_is_recorded_once_though_the_gateway_dies_before_it_knows(bench: Bench) -> None:
    bench.rows.removable = False
    async with bench.running() as ledger:
        ledger.note("session", datetime.now(UTC), "gone", "")
        await bench.until(lambda: len(bench.store.events) == 1)
    bench.rows.removable = True
    bench.restart()
    async with bench.running() as ledger:
        await bench.until(lambda: not bench.rows.kept)
    assert len(bench.store.events) == 1


async def test_an_outage_waits_for_a_store_that_is_away_or_hides_its_answer(bench: Bench) -> None:
    bench.store.away = True
    bench.store.answers_lost = 2
    async with bench.running() as ledger:
        ledger.note("store", datetime.now(UTC), "away", "")
        await bench.until(lambda: bool(bench.rows.kept))
        bench.store.away = False
        await bench.until(lambda: not ledger.pending)
    assert len(bench.store.events) == 1


async def test_health_tells_what_goes_on_and_what_waits_for_an_operator_recorded_or_not(bench: Bench) -> None:
    async with bench.running() as ledger:
        ledger.note("session", datetime.now(UTC), "gone", "commands")
        assert [line["kind"] for line in ledger.figures()["unacknowledged"].values()] == ["session"]
        await bench.until(lambda: not ledger.pending)
        Projection(bench.cache, CATALOGUE, CODEC).apply(bench.store.events)
        ledger.begin("broker", "refused")
        figures = ledger.figures()
    assert list(figures["open"]) == ["broker"]
    (line,) = figures["unacknowledged"].values()
    assert (line["kind"], line["affected"]) == ("session", "commands")


async def test_lost_sessions_that_are_not_shown_any_more_are_told_as_a_number(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.domain.outages.KEPT", 1)
    async with bench.running() as ledger:
        for _ in range(3):
            ledger.note("session", datetime.now(UTC), "gone", "commands")
            await bench.until(lambda: not ledger.pending)
        Projection(bench.cache, CATALOGUE, CODEC).apply(bench.store.events)
        for told in (ledger.figures(), ledger.told()):
            assert (len(told["unacknowledged"]), told["unacknowledged_older"]) == (1, 2)


async def test_who_stops_waits_for_the_outage_that_is_being_recorded_and_leaves_the_others_to_the_next_run(
    bench: Bench,
) -> None:
    bench.store.held_up = asyncio.Event()
    async with bench.running() as ledger:
        ledger.note("crash", datetime.now(UTC), "killed", "")
        await bench.until(lambda: bench.store.asked)
        stopped = asyncio.create_task(ledger.stop())
        ledger.note("clock", datetime.now(UTC), "jumped", "")
        assert await asyncio.wait({stopped}, timeout=0.05) == (set(), {stopped})
        bench.store.held_up.set()
        await stopped
        await bench.until(lambda: [outage.kind for outage in bench.rows.kept.values()] == ["clock"])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bench.until(lambda: len(bench.recorded()) > 1), 0.05)
    bench.restart()
    async with bench.running():
        await bench.until(lambda: len(bench.recorded()) == 2)
