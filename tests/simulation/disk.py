"""The gateway's own disk: what survives a crash, and a database on it as one process at a time sees it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

import orjson

from gateway.errors import StorageFull, StoreUnavailable
from gateway.messages import Outcome, Parked, ParkedEntry, Snapshot, Verdict
from tests.simulation.world import World, fail, resolve, settle

R = TypeVar("R")


class Disk:
    """What is durable.

    Attributes:
        parked_ever: every command that was in the inbox, by actor, device and id.
        cache_file: the read cache as of its last flush.
    """

    def __init__(self) -> None:
        self.inbox: dict[int, Parked] = {}
        self.parked_ever: set[tuple[str, str, str]] = set()
        self.outcomes: dict[UUID, Outcome] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.cursors: dict[str, int] = {}
        self.cache_file: bytes | None = None
        self.epoch = 0


class Process:
    """One life of the gateway: whatever it does after its end has no effect."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.alive = True


class Database:
    """One writer that does one thing after the other, and a reader beside it that sees what is committed."""

    def __init__(self, world: World, disk: Disk, process: Process) -> None:
        self.disk = disk
        self._world = world
        self._process = process
        self._busy_until = 0.0

    def write(self, effect: Callable[[], R]) -> "asyncio.Future[R]":
        """Whoever stops waiting stops nothing; a crash before the commit does."""
        world, future = self._world, self._world.loop.create_future()
        stall, world.weather.disk_stall = world.weather.disk_stall, 0.0
        latency = world.dice.uniform(0.0005, 0.02) + stall
        self._busy_until = max(world.loop.time(), self._busy_until) + latency
        world.loop.call_at(self._busy_until, self._commit, effect, future)
        return future

    def read(self, effect: Callable[[], R]) -> "asyncio.Future[R]":
        world, future = self._world, self._world.loop.create_future()
        world.loop.call_later(world.dice.uniform(0.0002, 0.005), self._look, effect, future)
        return future

    def _commit(self, effect: Callable[[], R], future: "asyncio.Future[R]") -> None:
        world = self._world
        if not self._process.alive:
            return
        if world.weather.disk == "fine":
            done: asyncio.Future[R] = world.loop.create_future()
            settle(done, effect)
        else:
            done = world.loop.create_future()
            full = world.weather.disk == "full"
            fail(done, StorageFull("the disk is full") if full else StoreUnavailable("the disk is broken"))
        world.loop.call_later(world.dice.uniform(0.0001, 0.005), self._reply, done, future)

    def _look(self, effect: Callable[[], R], future: "asyncio.Future[R]") -> None:
        if not self._process.alive:
            return
        if self._world.weather.disk == "broken":
            fail(future, StoreUnavailable("the disk is broken"))
        else:
            settle(future, effect)

    def _reply(self, done: "asyncio.Future[R]", future: "asyncio.Future[R]") -> None:
        if not self._process.alive:
            return
        error = done.exception()
        if error is None:
            resolve(future, done.result())
        else:
            fail(future, error)


class DiskInbox:
    """See :class:`~gateway.ports.Inbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = database.disk.inbox

    async def waiting(self) -> Sequence[ParkedEntry]:
        return await self._database.read(lambda: [self._rows[arrival].entry for arrival in sorted(self._rows)])

    async def park(self, commands: Sequence[Parked]) -> Sequence[int]:
        return await self._database.write(lambda: self._insert(commands))

    async def read(self, device: str, *, after: int, limit: int) -> Sequence[Parked]:
        def rows() -> list[Parked]:
            found = [row for arrival, row in sorted(self._rows.items()) if arrival > after]
            return [row for row in found if row.entry.device == device][:limit]

        return await self._database.read(rows)

    async def remove(self, arrivals: Sequence[int]) -> None:
        numbers = tuple(arrivals)

        def delete() -> None:
            for arrival in numbers:
                self._rows.pop(arrival, None)

        await self._database.write(delete)

    def _insert(self, commands: Sequence[Parked]) -> Sequence[int]:
        kept: list[int] = []
        copies: dict[bytes | None, int] = {
            row.copy_of: arrival for arrival, row in self._rows.items() if row.copy_of is not None
        }
        for command in commands:
            entry = command.entry
            place = copies.get(command.copy_of, entry.arrival)
            if place == entry.arrival:
                self._rows[place] = command
                self._database.disk.parked_ever.add((entry.actor, entry.device, command.command_id))
                if command.copy_of is not None:
                    copies[command.copy_of] = place
            kept.append(place)
        return kept


class DiskVerdicts:
    """The verdicts that leave no event; the log remembers the others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = database.disk.outcomes

    async def find(self, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:
        return await self._database.read(lambda: {key: self._rows[key] for key in keys if key in self._rows})

    async def remember(self, verdicts: Sequence[Verdict]) -> None:
        def insert() -> None:
            for verdict in verdicts:
                self._rows[verdict.key] = verdict.outcome

        await self._database.write(insert)

    async def prune(self, _before: datetime) -> int:
        return 0


class DiskSnapshots:
    """See :class:`~gateway.ports.Snapshots`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        return await self._database.read(lambda: self._database.disk.snapshots.get(stream))

    async def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        await self._database.write(lambda: self._database.disk.snapshots.update({stream: snapshot}))


class DiskCursors:
    """See :class:`~gateway.ports.Cursors`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_cursor(self, name: str) -> int | None:
        return await self._database.read(lambda: self._database.disk.cursors.get(name))

    async def save_cursor(self, name: str, position: int) -> None:
        def put() -> None:
            self._database.disk.cursors[name] = position

        await self._database.write(put)


class CacheFile:
    """The read cache's file, in the place of a path."""

    def __init__(self, disk: Disk, process: Process, check: Callable[[bytes], None]) -> None:
        self._disk = disk
        self._process = process
        self._check = check

    def read_bytes(self) -> bytes:
        if self._disk.cache_file is None:
            raise FileNotFoundError
        return self._disk.cache_file

    def replace_with(self, tables: Mapping[str, Mapping[int, bytes]]) -> None:
        if self._process.alive:
            document = {
                table: {str(id_): orjson.Fragment(row) for id_, row in rows.items()} for table, rows in tables.items()
            }
            self._disk.cache_file = orjson.dumps(document)
            self._check(self._disk.cache_file)


def replace_in_memory(path: Any, tables: Mapping[str, Mapping[int, bytes]]) -> None:
    """Stands where the read cache's own writing of its file does."""
    cast("CacheFile", path).replace_with(tables)
