import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway import outage_watch
from gateway.adapters.tinydb_cache import ReadCache
from gateway.aggregates import Aggregates
from gateway.codec import EventCodec
from gateway.domain.catalogue import Catalogue
from gateway.domain.outages import GATEWAY
from gateway.handler import Handler
from gateway.messages import PendingOutage
from gateway.outage_watch import OutageWatch
from gateway.outages import OutageLedger
from gateway.parking import Parking, ParkingLimits
from tests.support.fixed_clock import FixedClock
from tests.support.memory_inbox import MemoryInbox
from tests.support.memory_outages import MemoryPendingOutages
from tests.support.memory_outcomes import MemoryOutcomes
from tests.support.memory_store import MemorySnapshots, MemoryStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=1)
CODEC = EventCodec(Catalogue([GATEWAY]))


class JumpingClock(FixedClock):
    """A clock whose wall time may jump, while its other time goes on."""

    jumped = timedelta()

    def now(self) -> datetime:
        return super().now() + self.jumped


class Bench:
    def __init__(self, directory: Path) -> None:
        self.clock = JumpingClock(NOW)
        store = MemoryStore()
        self.parking = Parking(MemoryInbox(), store, self.clock, ParkingLimits(10, 10))
        aggregates = Aggregates(store, MemorySnapshots(), CODEC, capacity=10, snapshot_every=100)
        handler = Handler(store, MemoryOutcomes(store), aggregates, partial(CODEC.encode, gateway="gw1"), self.clock)
        cache = ReadCache(directory / "readmodel.json", "log")
        self.ledger = OutageLedger(MemoryPendingOutages(), handler, cache, self.clock, gateway="gw1", settle=60)
        self.watch = OutageWatch(self.ledger, self.parking, self.clock, clock_tolerance=2.0)

    @property
    def outage(self) -> PendingOutage:
        (outage,) = self.ledger.pending
        return outage


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_the_first_start_is_no_outage(bench: Bench) -> None:
    await bench.watch.start(None, crashed=True)
    assert not bench.ledger.pending


async def test_a_start_after_an_orderly_end_is_no_outage(bench: Bench) -> None:
    await bench.watch.start(EARLIER, crashed=False)
    assert not bench.ledger.pending


async def test_a_crash_lasted_from_the_last_sign_of_life_until_now(bench: Bench) -> None:
    await bench.watch.start(EARLIER, crashed=True)
    assert (bench.outage.kind, bench.outage.began_at, bench.outage.ended_at) == ("crash", EARLIER, NOW)
    assert "0 commands are parked" in bench.outage.affected


async def test_a_clock_that_stands_before_the_last_sign_of_life_has_jumped_back(bench: Bench) -> None:
    await bench.watch.start(NOW + timedelta(hours=2), crashed=False)
    assert (bench.outage.kind, bench.outage.cause) == ("clock", "the clock jumped by -7200.0 s")


async def test_a_broker_that_is_away_is_an_outage_until_it_is_back(bench: Bench) -> None:
    bench.watch.lost("refused")
    assert (bench.outage.kind, bench.outage.cause, bench.outage.ended_at) == ("broker", "refused", None)
    bench.clock.advance(timedelta(seconds=9))
    bench.watch.connected(session_lost=False)
    assert bench.outage.ended_at == NOW + timedelta(seconds=9)


async def test_a_first_connection_ends_nothing(bench: Bench) -> None:
    bench.watch.connected(session_lost=False)
    assert not bench.ledger.pending


async def test_a_lost_session_concerns_what_was_sent_since_the_connection_was_lost(bench: Bench) -> None:
    bench.watch.lost("refused")
    bench.clock.advance(timedelta(seconds=9))
    bench.watch.connected(session_lost=True)
    broker, session = bench.ledger.pending
    assert (broker.kind, session.kind, session.began_at) == ("broker", "session", NOW)
    assert "lost" in session.affected


async def test_a_store_that_is_away_is_an_outage_until_it_serves_again(bench: Bench) -> None:
    bench.parking.lost("no answer")
    bench.parking.lost("still none")
    assert (bench.outage.kind, bench.outage.cause, bench.outage.ended_at) == ("store", "no answer", None)
    bench.clock.advance(timedelta(seconds=9))
    bench.parking.served()
    assert bench.outage.ended_at == NOW + timedelta(seconds=9)


@pytest.mark.parametrize(
    ("seconds", "noticed"), [(3600, True), (-3600, True), (2.5, True), (1.5, False), (-1.5, False)]
)
async def test_a_jump_of_the_clock_is_noticed_while_it_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, seconds: float, *, noticed: bool
) -> None:
    monkeypatch.setattr(outage_watch, "CLOCK_INTERVAL", 0)
    with capture_logs():
        watching = asyncio.create_task(bench.watch.watch_clock())
        await asyncio.sleep(0)
        bench.clock.advance(timedelta(hours=5))
        bench.clock.jumped = timedelta(seconds=seconds)
        for _ in range(5):
            await asyncio.sleep(0)
        watching.cancel()
        await asyncio.wait([watching])
    if noticed:
        assert (bench.outage.kind, bench.outage.cause) == ("clock", f"the clock jumped by {seconds:+.1f} s")
        assert bench.outage.began_at == NOW
    else:
        assert not bench.ledger.pending


async def test_signs_of_life_go_on_though_the_disk_refuses_one(bench: Bench) -> None:
    signs = asyncio.Queue[int]()
    loop = asyncio.get_running_loop()

    def sign() -> None:
        loop.call_soon_threadsafe(signs.put_nowait, 1)
        raise OSError("read-only")

    with capture_logs() as logs:
        showing = asyncio.create_task(bench.watch.show_life(sign, 0))
        await signs.get()
        await signs.get()
        showing.cancel()
        await asyncio.wait([showing])
    assert logs[0]["event"] == "no_sign_of_life"
