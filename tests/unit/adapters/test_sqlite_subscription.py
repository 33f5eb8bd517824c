"""Whatever the pace of writers and readers: a subscriber misses nothing, gets nothing twice, and in order."""

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.recent_events import RecentLimits
from gateway.adapters.sqlite import open_database
from gateway.adapters.sqlite_log import SqliteLog
from tests.support.new_events import new_events


@dataclass(frozen=True)
class Pace:
    """How many turns of the loop somebody lets pass: now and then, so many at most."""

    seed: int
    turns: int

    async def pause(self, draw: random.Random) -> None:
        for _ in range(draw.randrange(self.turns + 1)):
            await asyncio.sleep(0)


PACES = st.builds(Pace, st.integers(0, 2**32), st.sampled_from([0, 1, 5, 60]))


async def write(log: SqliteLog, stream: str, sizes: list[int], pace: Pace) -> None:
    draw, revision = random.Random(pace.seed), -1
    for size in sizes:
        await pace.pause(draw)
        await log.append(stream, revision, new_events(size))
        revision += size


async def follow(log: SqliteLog, after: int, until: int, pace: Pace) -> list[int]:
    draw = random.Random(pace.seed)
    seen: list[int] = []
    async for events in log.subscribe(after=after):
        seen += [event.position for event in events]
        if seen[-1] >= until:
            break
        await pace.pause(draw)
    return seen


async def run(before: int, limits: RecentLimits, writers: list[tuple[list[int], Pace]], readers: list[Pace]) -> None:
    with TemporaryDirectory() as directory:
        async with open_database(Path(directory) / "gateway.db") as database:
            if before:
                await SqliteLog(database).append("device-before", -1, new_events(before))
        async with open_database(Path(directory) / "gateway.db") as database:
            log = SqliteLog(database, recent=limits)
            total = before + sum(sum(sizes) for sizes, _ in writers)
            starts = [pace.seed % total for pace in readers]
            async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
                following = [
                    tasks.create_task(follow(log, after, total, pace))
                    for after, pace in zip(starts, readers, strict=True)
                ]
                for number, (sizes, pace) in enumerate(writers):
                    tasks.create_task(write(log, f"device-{number}", sizes, pace))
            for after, task in zip(starts, following, strict=True):
                assert task.result() == list(range(after + 1, total + 1))


@settings(max_examples=25)
@given(
    before=st.integers(0, 12),
    limits=st.builds(RecentLimits, events=st.integers(1, 6), size=st.sampled_from([20, 100, 10_000])),
    writers=st.lists(st.tuples(st.lists(st.integers(1, 4), min_size=1, max_size=15), PACES), min_size=1, max_size=4),
    readers=st.lists(PACES, min_size=1, max_size=4),
)
def test_a_subscriber_neither_misses_nor_repeats_an_event(
    before: int, limits: RecentLimits, writers: list[tuple[list[int], Pace]], readers: list[Pace]
) -> None:
    asyncio.run(run(before, limits, writers, readers))
