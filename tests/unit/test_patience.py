import asyncio

import pytest

from gateway.patience import Patience

pytestmark = pytest.mark.embedded

LONG = 3_600.0


@pytest.fixture
def patience() -> Patience:
    return Patience()


def now() -> float:
    return asyncio.get_running_loop().time()


async def wait(patience: Patience, deadline: float) -> str:
    try:
        with patience.until(deadline):
            await asyncio.Event().wait()
    except TimeoutError:
        return "too late"
    return "done"


async def test_what_takes_too_long_is_cancelled(patience: Patience) -> None:
    assert await wait(patience, now()) == "too late"


async def test_what_is_done_in_time_is_left_alone_and_so_is_what_comes_after_it(patience: Patience) -> None:
    with patience.until(now()):
        pass
    await wait(patience, now())


async def test_whoever_waits_less_long_is_told_first_whenever_he_came(patience: Patience) -> None:
    first = asyncio.create_task(wait(patience, now() + LONG))
    await asyncio.sleep(0)
    assert await wait(patience, now()) == "too late"
    assert not first.done()
    first.cancel()


async def test_who_is_next_is_told_when_his_time_has_come(patience: Patience) -> None:
    began = now()
    waiting = [asyncio.create_task(wait(patience, began + share)) for share in (0.03, 0.01, 0.02)]
    assert await asyncio.gather(*waiting) == ["too late"] * 3
    assert now() >= began + 0.03


async def test_an_error_of_its_own_gets_through(patience: Patience) -> None:
    with pytest.raises(KeyError), patience.until(now() + LONG):
        raise KeyError


async def test_who_is_cancelled_by_somebody_else_meanwhile_stays_cancelled(patience: Patience) -> None:
    task = asyncio.create_task(wait(patience, now()))
    asyncio.get_running_loop().call_later(0, task.cancel)
    while not task.done():
        await asyncio.sleep(0)
    assert task.cancelled()


async def test_it_serves_a_task_that_was_cancelled_once_before(patience: Patience) -> None:
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return await wait(patience, now())
        return "never"

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "too late"
