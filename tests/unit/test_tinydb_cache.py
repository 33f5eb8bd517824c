import asyncio
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from structlog.testing import capture_logs
from tinydb import Query, TinyDB

from gateway.adapters import tinydb_cache
from gateway.adapters.tinydb_cache import CACHE_FILE, ReadCache, open_cache
from gateway.messages import Mark

MARK = Mark("device-valve-2", 3, 7, UUID(int=7), datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / CACHE_FILE


def device(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "model": "T", **fields}


def filled(path: Path) -> ReadCache:
    cache = ReadCache(path, "log-1")
    cache.put("devices", "pump-7", device("pump-7", rpm=900))
    cache.put("devices", "valve-2", device("valve-2", rpm=0))
    cache.put("alarms", "pump-7/hot", {"id": "pump-7/hot", "device": "pump-7"})
    cache.advance(7, MARK)
    return cache


def contents(cache: ReadCache) -> dict[str, list[Any]]:
    return {table: list(documents) for table, documents in cache.tables().items()}


async def test_what_was_flushed_is_there_after_a_restart(path: Path) -> None:
    cache = filled(path)
    await cache.flush()
    again = open_cache(path)
    assert (again.position, again.mark) == (7, MARK)
    assert contents(again) == contents(cache)
    assert again.get("devices", "pump-7") == device("pump-7", rpm=900)
    assert orjson.loads(again.encoded("devices", "pump-7") or b"") == device("pump-7", rpm=900)


async def test_any_tinydb_opens_the_file(path: Path) -> None:
    await filled(path).flush()
    with TinyDB(path) as database:
        devices = database.table("devices")
        [found] = devices.search(Query().rpm > 0)
        assert found["id"] == "pump-7"
        assert devices.get(doc_id=found.doc_id) == found
        assert {document["id"] for document in devices.all()} == {"pump-7", "valve-2"}
        [checkpoint] = database.table("checkpoint").all()
        assert (checkpoint["log_id"], checkpoint["position"]) == ("log-1", 7)


async def test_any_tinydb_opens_a_file_that_was_written_in_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tinydb_cache, "_PIECE", 3)
    cache = filled(path)
    for number in range(6):
        cache.put("devices", f"fan-{number}", device(f"fan-{number}"))
    await cache.flush()
    assert contents(open_cache(path)) == contents(cache)
    with TinyDB(path) as database:
        assert len(database.table("devices")) == 8
        assert len(database.table("alarms")) == 1


async def test_what_is_read_may_be_changed_and_changes_nothing(path: Path) -> None:
    cache = filled(path)
    for found in (cache.get("devices", "pump-7"), next(iter(cache.documents("devices")))):
        assert found == device("pump-7", rpm=900)
        found["rpm"] = 0
    assert cache.get("devices", "pump-7") == device("pump-7", rpm=900)


async def test_documents_are_found_as_json_and_by_key(path: Path) -> None:
    cache = filled(path)
    cache.put_encoded("devices", "fan-1", b'{"id":"fan-1"}')
    assert list(cache.keys("devices")) == ["pump-7", "valve-2", "fan-1"]
    assert [orjson.loads(row) for row in cache.rows("devices")] == list(cache.documents("devices"))
    assert cache.get("devices", "fan-1") == {"id": "fan-1"}
    assert [*cache.keys("never"), *cache.rows("never"), *cache.documents("never")] == []


async def test_a_document_takes_the_place_of_the_older_one_whole(path: Path) -> None:
    cache = filled(path)
    cache.put("devices", "pump-7", {"id": "pump-7"})
    assert cache.get("devices", "pump-7") == {"id": "pump-7"}
    assert len(list(cache.documents("devices"))) == 2


async def test_a_removed_document_is_gone_from_memory_and_file(path: Path) -> None:
    cache = filled(path)
    cache.remove("alarms", "pump-7/hot")
    cache.remove("alarms", "never")
    assert cache.get("alarms", "pump-7/hot") is None
    assert cache.encoded("alarms", "pump-7/hot") is None
    await cache.flush()
    assert contents(open_cache(path)) == contents(cache)


def swap(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "there is none"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-20]), "damaged"),
    "empty": (lambda path: path.write_bytes(b""), "damaged"),
    "no object": (lambda path: path.write_bytes(b"[]"), "damaged"),
    "no checkpoint": (lambda path: path.write_bytes(b'{"devices":{}}'), "damaged"),
    "no mark": (lambda path: swap(path, b'"mark"', b'"work"'), "damaged"),
    "no key": (lambda path: swap(path, b'"id":"pump-7"', b'"ix":"pump-7"'), "damaged"),
    "another version": (lambda path: swap(path, b'"version":"', b'"version":"0'), "another version"),
}


@pytest.mark.parametrize("how", SPOILED)
async def test_a_file_that_cannot_be_used_means_an_empty_cache_and_a_reason(path: Path, how: str) -> None:
    spoil, reason = SPOILED[how]
    await filled(path).flush()
    spoil(path)
    with capture_logs() as lines:
        cache = open_cache(path)
    assert (cache.position, contents(cache)) == (0, {})
    [line] = lines
    assert line["event"] == "read_cache_starts_empty"
    assert reason in line["reason"]


async def test_nothing_is_written_while_nothing_changes(path: Path) -> None:
    cache = filled(path)
    await cache.flush()
    path.unlink()
    await cache.flush()
    assert not path.exists()


async def test_a_change_is_written_after_the_interval(path: Path) -> None:
    cache = filled(path)
    flushing = asyncio.create_task(cache.keep_flushed(0))
    while not path.exists():
        await asyncio.sleep(0)
    cache.put("devices", "new-1", device("new-1"))
    cache.advance(8)
    while open_cache(path).position != 8:
        await asyncio.sleep(0)
    flushing.cancel()
    await asyncio.wait([flushing])


async def test_the_file_has_documents_and_checkpoint_of_one_moment(path: Path) -> None:
    cache = filled(path)
    flush = asyncio.create_task(cache.flush())
    await asyncio.sleep(0)  # the moment is taken
    cache.put("devices", "late-1", device("late-1"))
    cache.advance(8)
    await flush
    first = open_cache(path)
    assert (first.position, first.get("devices", "late-1")) == (7, None)
    await cache.flush()
    second = open_cache(path)
    assert (second.position, second.get("devices", "late-1")) == (8, device("late-1"))


async def test_a_flush_that_fails_leaves_the_old_file_and_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = filled(path)
    await cache.flush()
    cache.advance(8)
    monkeypatch.setattr(tinydb_cache, "_RETRY", 0)
    monkeypatch.setattr("os.fsync", _no_room)
    with capture_logs() as lines:
        flushing = asyncio.create_task(cache.keep_flushed(0))
        while len(lines) < 2:
            await asyncio.sleep(0)
        assert open_cache(path).position == 7
        assert [file.name for file in path.parent.iterdir()] == [CACHE_FILE]
        monkeypatch.undo()
        while open_cache(path).position != 8:
            await asyncio.sleep(0)
        flushing.cancel()
        await asyncio.wait([flushing])
    assert lines[0]["event"] == "read_cache_not_written"


async def test_a_flush_that_is_cancelled_ends_when_its_thread_no_longer_writes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = filled(path)
    writes, may_end = threading.Event(), threading.Event()
    fsync = os.fsync

    def slow(descriptor: int) -> None:
        writes.set()
        assert may_end.wait(5)
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", slow)
    flushing = asyncio.create_task(cache.keep_flushed(0))
    while not writes.is_set():
        await asyncio.sleep(0)
    flushing.cancel()
    cache.advance(8)
    last = asyncio.create_task(cache.flush())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not flushing.done()
    assert not last.done()
    may_end.set()
    await asyncio.wait([flushing])
    assert flushing.cancelled()
    await last
    assert open_cache(path).position == 8


async def test_a_flush_that_is_cancelled_and_fails_is_made_up_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = filled(path)
    monkeypatch.setattr("os.fsync", _no_room)
    flush = asyncio.create_task(cache.flush())
    await asyncio.sleep(0)
    flush.cancel()
    await asyncio.wait([flush])
    assert flush.cancelled()
    monkeypatch.undo()
    await cache.flush()
    assert open_cache(path).position == 7


def _no_room(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")


async def test_colliding_keys_live_side_by_side(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Same:
        def digest(self) -> bytes:
            return b"\xff" * 8

    monkeypatch.setattr(tinydb_cache, "blake2b", lambda _key, **_size: Same())
    cache = filled(path)
    await cache.flush()
    again = open_cache(path)
    assert again.get("devices", "pump-7") == device("pump-7", rpm=900)
    assert again.get("devices", "valve-2") == device("valve-2", rpm=0)


async def test_clearing_starts_again_with_nothing(path: Path) -> None:
    cache = filled(path)
    cache.clear()
    assert (cache.position, contents(cache)) == (0, {})
    assert [*cache.keys("devices"), *cache.documents("devices")] == []
