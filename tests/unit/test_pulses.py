from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import pytest

from gateway.messages import NO_STREAM
from gateway.parking import Parking
from gateway.pipeline import Pipeline
from gateway.projector import Projector
from gateway.pulses import STEP, of_lanes, of_link, of_projector
from tests.support.memory_store import MemoryStore
from tests.support.new_events import new_event

STREAM = "gateway-gw1"


@dataclass
class Lanes:
    oldest_batch: int | None = None


@dataclass
class Parked:
    since: datetime | None = None


@dataclass
class Reader:
    position: int = 0


@dataclass
class Line:
    is_up: bool = False
    attempts: int = 0


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def test_lanes_are_behind_while_a_batch_is_worked_on_and_get_on_when_it_is_done(store: MemoryStore) -> None:
    lanes, parked = Lanes(), Parked()
    pulse = of_lanes(cast("Pipeline", lanes), cast("Parking", parked), store, STREAM, patience=2.0)
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
    pulse = of_link(link, store, STREAM, longest_pause=30.0)
    assert (pulse.behind(), pulse.progress(), pulse.patience) == (True, 0, STEP + 30.0)
    link.attempts += 1
    assert pulse.progress() == 1
    link.is_up = True
    assert not pulse.behind()
    assert await pulse.could()
