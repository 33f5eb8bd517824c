import asyncio

from gateway.lanes import Lanes


async def test_items_of_one_key_are_worked_on_in_order_and_in_batches() -> None:
    batches: list[list[int]] = []
    release = asyncio.Event()

    async def work(_key: str, batch: list[int]) -> None:
        batches.append(batch)
        await release.wait()

    async with asyncio.TaskGroup() as group:
        lanes = Lanes(group, work, batch=3)
        lanes.submit("pump", 0)
        await asyncio.sleep(0)
        for number in range(1, 6):
            lanes.submit("pump", number)
        release.set()
        await lanes.idle()
    assert batches == [[0], [1, 2, 3], [4, 5]]


async def test_a_slow_key_delays_no_other() -> None:
    done: list[str] = []
    blocked = asyncio.Event()

    async def work(_key: str, batch: list[str]) -> None:
        if batch == ["slow"]:
            await blocked.wait()
        done.extend(batch)

    async with asyncio.TaskGroup() as group:
        lanes = Lanes(group, work, batch=3)
        lanes.submit("pump", "slow")
        lanes.submit("valve", "quick")
        while done != ["quick"]:
            await asyncio.sleep(0)
        blocked.set()
        await lanes.idle()
    assert done == ["quick", "slow"]


async def test_an_idle_lane_leaves_nothing_behind() -> None:
    async def work(_key: str, _batch: list[int]) -> None:
        await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        lanes = Lanes(group, work, batch=1)
        for number in range(100):
            lanes.submit(f"device-{number}", number)
        await lanes.idle()
        assert not lanes._waiting


async def test_a_batch_that_is_stuck_stays_the_oldest_beside_a_lane_that_is_always_busy() -> None:
    stuck = asyncio.Event()
    oldest: list[int | None] = []

    async def work(key: str, _batch: list[int]) -> None:
        await (stuck.wait() if key == "stuck" else asyncio.sleep(0))
        oldest.append(lanes.oldest)

    async with asyncio.TaskGroup() as group:
        lanes = Lanes(group, work, batch=1)
        assert lanes.oldest is None
        for number in range(4):
            lanes.submit("busy", number)
        lanes.submit("stuck", 0)
        lanes.submit("stuck", 1)
        while len(oldest) < 4:
            await asyncio.sleep(0)
        stuck.set()
        await lanes.idle()
    first, *while_stuck, last = oldest
    assert len(set(while_stuck)) == 1
    assert len({first, while_stuck[0], last}) == 3
    assert lanes.oldest is None
