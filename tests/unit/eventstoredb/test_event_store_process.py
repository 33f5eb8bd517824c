"""The server as a process of its own: what it keeps, what it forgets, and its control port."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventstoredb.protos import grpc
from tests.support.eventstoredb.raw_client import RawClient, proposed, raw_client
from tests.support.eventstoredb.records import ANY, NO_STREAM, Committed
from tests.support.eventstoredb.store import HEAD, Store
from tests.support.eventstoredb.writing import events
from tests.support.eventstoredb_process import EventStoreProcess


@pytest.fixture
def process(tmp_path: Path) -> Iterator[EventStoreProcess]:
    process = EventStoreProcess(tmp_path, "--max-append-size", "5000").start()
    yield process
    process.close()


async def count(raw: RawClient, stream: str) -> int:
    return len([answer for answer in await raw.read(stream=stream) if answer.WhichOneof("content") == "event"])


async def test_a_killed_server_loses_nothing_that_it_answered_and_forgets_the_ids(process: EventStoreProcess) -> None:
    event = proposed()
    port = process.port
    async with raw_client(port) as raw:
        first = await raw.append("a", ANY, event)
        again = await raw.append("a", ANY, event)
        assert again.success == first.success
        before = await raw.read()

    process.restart()

    assert process.port == port
    async with raw_client(port) as raw:
        assert await raw.read() == before
        repeated = await raw.append("a", ANY, event)
        assert repeated.success.current_revision == 1
        retried = await raw.append("a", NO_STREAM, event)
        assert retried.success == first.success


async def test_a_server_that_is_killed_amid_appends_has_all_that_it_answered(process: EventStoreProcess) -> None:
    answered = 0

    async def append() -> None:
        nonlocal answered
        async with raw_client(process.port) as raw:
            while True:
                await raw.append("a", ANY, proposed(), proposed())
                answered += 1

    appending = asyncio.ensure_future(append())
    while answered < 20:
        await asyncio.sleep(0)
    process.kill()
    with pytest.raises(grpc.aio.AioRpcError):
        await appending
    process.start()

    async with raw_client(process.port) as raw:
        assert await count(raw, "a") in {2 * answered, 2 * (answered + 1)}


async def test_it_ends_when_it_is_asked_to_and_starts_again_with_its_data(process: EventStoreProcess) -> None:
    async with raw_client(process.port) as raw:
        await raw.append("a", NO_STREAM, proposed(), proposed())
        await raw.delete("a", 1)
        await raw.append("a", 1, proposed())
        await raw.tombstone("b", NO_STREAM)

    assert process.terminate() == 0
    process.start()

    async with raw_client(process.port) as raw:
        assert await count(raw, "a") == 1
        with pytest.raises(grpc.aio.AioRpcError, match="is deleted"):
            await raw.read(stream="b")


async def test_its_options_are_on_the_command_line(process: EventStoreProcess) -> None:
    async with raw_client(process.port) as raw:
        answer = await raw.append("a", NO_STREAM, proposed(data=b"x" * 5001))

    assert answer.WhichOneof("result") == "error"


async def test_faults_are_set_and_cleared_from_outside(process: EventStoreProcess) -> None:
    process.fault("unavailable_before_commit", stream="a", count=2)
    assert process.pending_faults() == 1

    async with raw_client(process.port) as raw:
        with pytest.raises(grpc.aio.AioRpcError):
            await raw.append("a", NO_STREAM, proposed())
        process.clear_faults()
        await raw.append("a", NO_STREAM, proposed())

    assert process.pending_faults() == 0


async def test_the_node_is_changed_from_outside(process: EventStoreProcess) -> None:
    process.change(role="follower", leader=["127.0.0.1", 2113])
    async with raw_client(process.port) as raw:
        with pytest.raises(grpc.aio.AioRpcError, match="Leader info available"):
            await raw.append("a", NO_STREAM, proposed())

        process.change(role="leader", read_only=True)
        answer = await raw.append("a", NO_STREAM, proposed())

    assert answer.error.code == 7


@pytest.mark.parametrize("details", [{"kind": "explode"}, {"kind": "commit_then_hang", "sometimes": True}])
def test_a_fault_that_nobody_understands_is_refused(process: EventStoreProcess, details: dict[str, object]) -> None:
    with pytest.raises(AssertionError, match="not understood"):
        process.fault(**details)  # type: ignore[arg-type]


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    process = EventStoreProcess(tmp_path, "--generation", "19")

    with pytest.raises(AssertionError, match="invalid choice: '19'"):
        process.start()


@pytest.mark.parametrize("cut", [1, 20])
async def test_a_commit_that_was_cut_off_is_dropped_and_the_file_goes_on(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log"
    store = Store(path, remembered_ids=10)
    store.append("a", NO_STREAM, events(1))
    whole = path.stat().st_size
    store.append("a", 0, events(2))
    store.close()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - cut)

    store = Store(path, remembered_ids=10)
    assert store.log.current("a") == 0
    assert path.stat().st_size == whole
    assert isinstance(store.append("a", 0, events(1)), Committed)
    store.close()

    store = Store(path, remembered_ids=10)
    assert store.log.current("a") == 1
    store.close()


async def test_a_commit_that_was_damaged_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log"
    store = Store(path, remembered_ids=10)
    whole = path.stat().st_size
    store.append("a", NO_STREAM, events(1))
    store.close()
    damaged = bytearray(path.read_bytes())
    damaged[whole + HEAD.size + 5] ^= 1
    path.write_bytes(damaged)

    store = Store(path, remembered_ids=10)
    assert store.log.current("a") == NO_STREAM
    store.close()
