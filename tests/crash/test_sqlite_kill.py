"""Killed at any instant, the log holds everything it confirmed, without gaps, and no append in part."""

import random
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from gateway.adapters.sqlite_file import prepare
from gateway.adapters.sqlite_reader import open_read_only
from gateway.messages import RecordedEvent

ROUNDS = 10

pytestmark = pytest.mark.embedded

APPENDING = """
import asyncio, sys
from pathlib import Path
import orjson
from gateway.adapters.sqlite import open_database
from gateway.adapters.sqlite_log import SqliteLog
from gateway.ids import new_id
from gateway.messages import NewEvent
from uuid import UUID

async def append(log, stream):
    page = await log.read_stream(stream, limit=1_000_000)
    revision = page[-1].revision if page else -1
    size = 1
    while True:
        batch = new_id()
        meta = orjson.dumps({"batch": batch, "size": size})
        events = [NewEvent(UUID(new_id()), "Counted", b"{}", meta) for _ in range(size)]
        appended = await log.append(stream, revision, events)
        for position, event in zip(appended.positions, events):
            print(position, event.id, flush=True)
        revision, size = revision + size, size % 4 + 1

async def main():
    async with open_database(Path(sys.argv[1])) as database, asyncio.TaskGroup() as tasks:
        log = SqliteLog(database)
        for n in range(32):
            tasks.create_task(append(log, f"device-{n}"))

asyncio.run(main())
"""


def run_until_killed(path: Path, after: int) -> list[tuple[int, str]]:
    """Append until so many events are confirmed and the kill arrives; what was confirmed."""
    with subprocess.Popen([sys.executable, "-c", APPENDING, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(after)]
        child.kill()
        lines += child.stdout.readlines()
    # the kill may have cut the last line
    confirmed = [line.split() for line in lines if line.endswith("\n")]
    return [(int(position), id) for position, id in confirmed]


def read_everything(path: Path) -> list[RecordedEvent]:
    prepare(path)  # what the next start does
    with open_read_only(path) as reader:
        return reader.read_all(after=0, limit=1_000_000)


def test_a_killed_gateway_has_lost_nothing_that_it_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    draw = random.Random(20260301)
    confirmed: dict[int, str] = {}
    for _ in range(ROUNDS):
        confirmed |= run_until_killed(path, after=draw.randrange(1, 1_500))

        log = read_everything(path)

        assert [event.position for event in log] == list(range(1, len(log) + 1))
        assert {event.position: str(event.id) for event in log}.items() >= confirmed.items()
        streams: dict[str, list[int]] = {}
        batches: dict[str, list[int]] = {}
        for event in log:
            streams.setdefault(event.stream, []).append(event.revision)
            batch = orjson.loads(event.metadata)
            batches.setdefault(batch["batch"], []).append(batch["size"])
        assert all(revisions == list(range(len(revisions))) for revisions in streams.values())
        assert all(len(sizes) == sizes[0] for sizes in batches.values())
