import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.errors import StoreUnavailable
from gateway.heartbeats import Heartbeats, Pulse, store_answers
from tests.support.memory_store import MemoryStore

PATIENCE = 60.0


class Work:
    """Something to listen to, and a clock to listen by."""

    def __init__(self) -> None:
        self.behind = True
        self.progress = 0
        self.store_is_there = True
        self.now = 1_000.0
        self.asked = 0

    async def store_answers(self) -> bool:
        self.asked += 1
        return self.store_is_there


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
async def task() -> "AsyncIterator[asyncio.Task[None]]":
    one = asyncio.create_task(asyncio.Event().wait())
    yield one  # type: ignore[misc]
    one.cancel()
    await asyncio.wait((one,))


@pytest.fixture
def hearts(work: Work, task: "asyncio.Task[None]") -> Heartbeats:
    pulse = Pulse(lambda: work.behind, lambda: work.progress, PATIENCE)
    return Heartbeats({"feed": task}, {"projector": pulse}, work.store_answers, lambda: work.now)


async def test_who_gets_on_is_there_however_long_it_takes(hearts: Heartbeats, work: Work) -> None:
    for _ in range(10):
        assert await hearts.all_there()
        work.now += PATIENCE
        work.progress += 1
    assert work.asked == 0


async def test_who_has_nothing_to_do_is_there_for_ever(hearts: Heartbeats, work: Work) -> None:
    work.behind = False
    assert await hearts.all_there()
    work.now += 100 * PATIENCE
    assert await hearts.all_there()


async def test_who_has_something_to_do_and_gets_no_further_is_stuck(hearts: Heartbeats, work: Work) -> None:
    assert await hearts.all_there()
    work.now += PATIENCE + 1
    assert not await hearts.all_there()
    assert list(hearts.missing) == ["projector"]
    work.progress += 1
    assert await hearts.all_there()
    assert list(hearts.missing) == []


async def test_time_without_work_does_not_count(hearts: Heartbeats, work: Work) -> None:
    assert await hearts.all_there()
    work.now += PATIENCE + 1
    work.behind = False
    assert await hearts.all_there()
    work.behind = True
    assert await hearts.all_there()


async def test_nobody_is_stuck_while_the_store_is_away_nor_soon_after(hearts: Heartbeats, work: Work) -> None:
    assert await hearts.all_there()
    work.store_is_there = False
    for _ in range(10):
        work.now += PATIENCE + 1
        assert await hearts.all_there()
    work.store_is_there = True
    assert await hearts.all_there()
    work.now += PATIENCE - 1
    assert await hearts.all_there()
    work.now += 2
    assert not await hearts.all_there()


async def test_a_task_that_has_ended_is_dead(hearts: Heartbeats, task: "asyncio.Task[None]") -> None:
    assert await hearts.all_there()
    task.cancel()
    await asyncio.wait((task,))
    assert not await hearts.all_there()
    assert hearts.missing == ("feed",)


async def test_a_store_answers_or_it_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()

    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("away")

    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    assert await store_answers(store, "gateway-gw1", 5.0)
    monkeypatch.setattr(store, "read_stream", fail)
    assert not await store_answers(store, "gateway-gw1", 5.0)
    monkeypatch.setattr(store, "read_stream", hang)
    assert not await store_answers(store, "gateway-gw1", 0.01)
