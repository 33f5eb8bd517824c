"""Parked commands in the gateway's own database, wherever the events are."""

import os
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import orjson

from gateway.adapters.sqlite import Database
from gateway.adapters.sqlite_reader import from_microseconds, to_microseconds
from gateway.errors import StorageFull
from gateway.messages import MessageProperties, Parked, ParkedEntry

_INSERT: Final = (
    "INSERT INTO inbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    # what changes nothing: of a conflict that is passed over, nothing would be returned
    " ON CONFLICT (copy_of) DO UPDATE SET copy_of = copy_of RETURNING arrival"
)


class SqliteInbox:
    """The inbox in the gateway's own database; see :class:`~gateway.ports.Inbox`.

    Attributes:
        reserve: bytes of the disk that are left free.
    """

    def __init__(self, database: Database, reserve: int) -> None:
        self.reserve = reserve
        self._database = database

    async def waiting(self) -> Sequence[ParkedEntry]:
        """All of them, without their content, in the order of arrival.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        rows = await self._database.reader.call(
            lambda connection: connection.execute(
                "SELECT arrival, actor, device FROM inbox ORDER BY arrival"
            ).fetchall()
        )
        return [ParkedEntry(*row) for row in rows]

    async def park(self, commands: Sequence[Parked]) -> Sequence[int]:
        """Keep commands; durable on return. Returns the arrival number under which each is kept.

        That is its own, or the one of a copy that was kept before.

        Raises:
            StorageFull: there would be too little room left on the disk; none was kept.
            StoreUnavailable: the disk does not let it.
        """
        rows = [_row(command) for command in commands]
        return await self._database.writer.call(lambda connection: _insert(connection, rows, self.reserve))

    async def read(self, device: str, *, after: int, limit: int) -> Sequence[Parked]:
        """At most ``limit`` commands for this device with an arrival number over ``after``, in the order of arrival.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        rows = await self._database.reader.call(
            lambda connection: connection.execute(
                "SELECT * FROM inbox WHERE device = ? AND arrival > ? ORDER BY arrival LIMIT ?", (device, after, limit)
            ).fetchall()
        )
        return [_parked(row) for row in rows]

    async def remove(self, arrivals: Sequence[int]) -> None:
        """Forget commands whose final acknowledgement is with the broker.

        Raises:
            StoreUnavailable: the disk does not let it.
        """
        numbers = [(arrival,) for arrival in arrivals]
        await self._database.writer.change("DELETE FROM inbox WHERE arrival = ?", numbers)


def _insert(connection: sqlite3.Connection, rows: Sequence[Sequence[object]], reserve: int) -> list[int]:
    (_, _, file) = connection.execute("PRAGMA database_list").fetchone()
    disk = os.statvfs(file)
    if disk.f_bavail * disk.f_frsize < reserve:
        raise StorageFull(f"less than {reserve} bytes are free on the disk: no more commands are parked")
    return [int(connection.execute(_INSERT, row).fetchall()[0][0]) for row in rows]


def _row(command: Parked) -> tuple[object, ...]:
    entry = command.entry
    return (
        entry.arrival,
        entry.actor,
        entry.device,
        command.command_id,
        command.copy_of,
        to_microseconds(command.received_at),
        command.topic,
        command.payload,
        command.retain,
        _encode(command.properties),
    )


def _parked(row: Any) -> Parked:  # noqa: ANN401 - sqlite3 does not type its rows
    arrival, actor, device, command_id, copy_of, received_at, topic, payload, retain, properties = row
    return Parked(
        ParkedEntry(arrival, actor, device),
        command_id,
        copy_of,
        from_microseconds(received_at),
        topic,
        payload,
        bool(retain),
        _decode(properties),
    )


def _encode(properties: MessageProperties) -> bytes:
    correlation = properties.correlation_data
    return orjson.dumps(
        {
            "response_topic": properties.response_topic,
            "correlation_data": correlation.hex() if correlation is not None else None,
            "content_type": properties.content_type,
            "expiry": properties.expiry,
            "user": properties.user,
        }
        | ({} if properties.complete else {"complete": False})
    )


def _decode(record: bytes) -> MessageProperties:
    document = orjson.loads(record)
    correlation = document["correlation_data"]
    return MessageProperties(
        document["response_topic"],
        bytes.fromhex(correlation) if correlation is not None else None,
        document["content_type"],
        document["expiry"],
        tuple((name, value) for name, value in document["user"]),
        document.get("complete", True),
    )
