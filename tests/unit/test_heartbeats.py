import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.errors import StoreUnavailable
from gateway.heartbeats import Heartbeats, Pulse

PATIENCE = 60.0


class Work:
    """Something to listen to, and a clock to listen by."""

    def __init__(self) -> None:
        self.behind = True
        self.progress = 0
        self.store_is_there = True
        self.store_hangs = False
        self.more = True
        self.now = 1_000.0
        self.asked = 0

    async def could(self) -> bool:
        self.asked += 1
        if self.store_hangs:
            await asyncio.Event().wait()
        if not self.store_is_there:
            raise StoreUnavailable("away")
        return self.more


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
    pulse = Pulse(lambda: work.behind, lambda: work.progress, PATIENCE, work.could)
    return Heartbeats({"feed": task}, {"projector": pulse}, lambda: work.now, 0.001)


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


async def test_a_store_that_does_not_answer_in_time_is_away(hearts: Heartbeats, work: Work) -> None:
    assert await hearts.all_there()
    work.store_hangs = True
    work.now += PATIENCE + 1
    assert await hearts.all_there()
    assert work.asked == 1


async def test_who_seems_to_be_behind_and_is_not_is_there(hearts: Heartbeats, work: Work) -> None:
    assert await hearts.all_there()
    work.more = False
    work.now += PATIENCE + 1
    assert await hearts.all_there()
