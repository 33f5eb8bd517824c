import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import pytest

from gateway.errors import LinkLost, PublishRefused, StoreUnavailable
from gateway.feed import Feed
from gateway.heartbeats import Pulse
from gateway.messages import NO_STREAM, RecordedEvent
from gateway.parking import Parking
from gateway.pipeline import Pipeline
from gateway.projector import Projector
from gateway.pulses import STEP, Outside, of_feed, of_lanes, of_link, of_parked, of_projector
from tests.support.memory_store import MemoryStore
from tests.support.new_events import new_event
from tests.support.recording_publisher import RecordingPublisher, fail

STREAM = "gateway-gw1"


@dataclass
class Lanes:
    oldest_batch: int | None = None


@dataclass
class Parked:
    since: datetime | None = None
    away: bool = False
    count: int = 0
    attempts: int = 0


@dataclass
class Reader:
    position: int = 0


@dataclass
class Feeding:
    position: int = 0
    attempts: int = 1
    wanted: int = 0


@dataclass
class Line:
    is_up: bool = False
    attempts: int = 0


@dataclass
class World:
    """Everything outside, and the parts that wait for it."""

    store: MemoryStore = field(default_factory=MemoryStore)
    broker: RecordingPublisher = field(default_factory=RecordingPublisher)
    lanes: Lanes = field(default_factory=Lanes)
    parked: Parked = field(default_factory=Parked)
    cache: Reader = field(default_factory=Reader)
    feed: Feeding = field(default_factory=Feeding)
    link: Line = field(default_factory=lambda: Line(is_up=True))

    @property
    def outside(self) -> Outside:
        return Outside(self.store, STREAM, lambda: self.broker.publish("health", b"{}"))

    def pulse_of_parked(self) -> Pulse:
        parts = cast("Pipeline", self.lanes), cast("Parking", self.parked)
        return of_parked(*parts, self.link, self.outside, patience=2.0)

    def pulse_of_feed(self) -> Pulse:
        return of_feed(cast("Feed", self.feed), cast("Projector", self.cache), self.link, self.outside)


class Away(MemoryStore):
    async def read_stream(self, stream: str, *, after: int = NO_STREAM, limit: int = 1_000) -> Sequence[RecordedEvent]:
        raise StoreUnavailable(f"{stream} after {after}, {limit} at most: nobody answers")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def world() -> World:
    return World()


def outside(store: MemoryStore) -> Outside:
    return World(store).outside


async def test_lanes_are_behind_while_a_batch_is_worked_on_and_get_on_when_it_is_done(store: MemoryStore) -> None:
    lanes, parked = Lanes(), Parked()
    pulse = of_lanes(cast("Pipeline", lanes), cast("Parking", parked), outside(store), patience=2.0)
    assert (pulse.behind(), pulse.patience) == (False, STEP + 2.0)
    lanes.oldest_batch = 0
    assert (pulse.behind(), pulse.progress()) == (True, 0)
    lanes.oldest_batch = 1
    assert pulse.progress() == 1
    parked.since = datetime(2026, 3, 1, tzinfo=UTC)
    assert not pulse.behind()
    assert await pulse.could()


async def test_a_projector_is_behind_while_the_log_has_an_event_that_it_has_not_folded(store: MemoryStore) -> None:
    projector = Reader()
    pulse = of_projector(cast("Projector", projector), store)
    assert not pulse.behind()
    await store.append(STREAM, NO_STREAM, [new_event()])
    assert (pulse.behind(), await pulse.could(), pulse.progress()) == (True, True, 0)
    projector.position = 1
    assert (pulse.behind(), pulse.progress()) == (False, 1)


async def test_a_projector_is_not_stuck_before_a_position_without_an_event_of_ours(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryStore, "newest", 7)
    pulse = of_projector(cast("Projector", Reader()), store)
    assert (pulse.behind(), await pulse.could()) == (True, False)


async def test_a_link_is_behind_without_a_connection_and_gets_on_with_each_attempt(store: MemoryStore) -> None:
    link = Line()
    pulse = of_link(link, outside(store), longest_pause=30.0)
    assert (pulse.behind(), pulse.progress(), pulse.patience) == (True, 0, STEP + 30.0)
    link.attempts += 1
    assert pulse.progress() == 1
    link.is_up = True
    assert not pulse.behind()
    assert await pulse.could()


async def test_a_broker_answers_with_whatever_it_says_and_not_with_silence(world: World) -> None:
    assert await world.outside.broker_confirms()
    world.broker.confirms = False
    for error, answers in ((PublishRefused("the ACL"), True), (LinkLost("the connection ended"), False)):
        asking = asyncio.create_task(world.outside.broker_confirms())
        await asyncio.sleep(0)
        assert not asking.done()
        fail(world.broker.published[-1].future, error)
        assert await asking is answers
    world.broker.is_up = False
    assert not await world.outside.broker_confirms()


async def test_a_lane_that_waits_until_the_broker_has_an_answer_is_not_stuck(world: World) -> None:
    world.lanes.oldest_batch = 0
    pulse = of_lanes(cast("Pipeline", world.lanes), cast("Parking", world.parked), world.outside, patience=2.0)
    assert (pulse.behind(), await pulse.could()) == (True, True)
    world.broker.is_up = False
    assert (pulse.behind(), await pulse.could()) == (True, False)


async def test_parked_commands_are_late_when_the_store_is_back_and_nobody_takes_them_up(world: World) -> None:
    pulse, parked = world.pulse_of_parked(), world.parked
    assert (pulse.behind(), pulse.patience) == (False, STEP + 2.0)
    parked.count = 3
    assert (pulse.behind(), pulse.progress(), await pulse.could()) == (True, 0, True)
    parked.attempts += 1
    assert (pulse.behind(), pulse.progress()) == (True, 1)


@pytest.mark.parametrize("why", ["the store is away", "no broker", "the store reads and does not write"])
async def test_parked_commands_are_not_late_while_they_have_to_wait(world: World, why: str) -> None:
    world.parked.count = 3
    if why == "the store is away":
        world.parked.away, world.parked.since = True, datetime(2026, 3, 1, tzinfo=UTC)
    elif why == "no broker":
        world.link.is_up = False
    else:
        world.parked.since, world.lanes.oldest_batch = datetime(2026, 3, 1, tzinfo=UTC), 7
    assert not world.pulse_of_parked().behind()


async def test_parked_commands_that_nobody_works_on_are_late_though_the_store_has_served_nobody_yet(
    world: World,
) -> None:
    world.parked.count, world.parked.since = 3, datetime(2026, 3, 1, tzinfo=UTC)
    assert world.pulse_of_parked().behind()


async def test_parked_commands_wait_for_a_store_and_a_broker_that_answer_nothing(world: World) -> None:
    world.broker.is_up = False
    assert not await world.pulse_of_parked().could()
    world.store = Away()
    with pytest.raises(StoreUnavailable):
        await world.pulse_of_parked().could()


async def test_a_feed_is_behind_while_the_log_has_an_event_that_the_broker_does_not_have(world: World) -> None:
    pulse = world.pulse_of_feed()
    assert not pulse.behind()
    await world.store.append(STREAM, NO_STREAM, [new_event()])
    assert (pulse.behind(), await pulse.could(), pulse.progress()) == (True, True, (0, 1))
    world.feed.position = 1
    assert (pulse.behind(), pulse.progress()) == (False, (1, 1))


async def test_a_feed_that_begins_again_gets_on(world: World) -> None:
    pulse = world.pulse_of_feed()
    before = pulse.progress()
    world.feed.attempts += 1
    assert pulse.progress() != before


@pytest.mark.parametrize("why", ["no broker", "the read cache is behind", "where it begins is not known"])
async def test_a_feed_is_not_behind_while_it_has_to_wait(world: World, why: str) -> None:
    await world.store.append(STREAM, NO_STREAM, [new_event()])
    if why == "no broker":
        world.link.is_up = False
    elif why == "the read cache is behind":
        world.feed.wanted = 1
    else:
        world.feed.attempts = 0
    assert not world.pulse_of_feed().behind()


async def test_a_feed_is_not_stuck_before_a_broker_that_confirms_nothing(world: World) -> None:
    await world.store.append(STREAM, NO_STREAM, [new_event()])
    world.broker.is_up = False
    pulse = world.pulse_of_feed()
    assert (pulse.behind(), await pulse.could()) == (True, False)


async def test_a_feed_is_not_stuck_before_a_position_without_an_event_of_ours(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryStore, "newest", 7)
    pulse = world.pulse_of_feed()
    assert (pulse.behind(), await pulse.could()) == (True, False)
