"""Puts appends into the log, as many as wait in one go. Runs in the writer's thread, inside its transaction."""

import sqlite3
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple

from gateway.adapters.sqlite_file import last_position
from gateway.adapters.sqlite_reader import from_microseconds, select_in
from gateway.errors import WrongExpectedRevision
from gateway.messages import NO_STREAM, Appended, NewEvent

_INSERT: Final = "INSERT INTO events VALUES"
_AT_ONCE: Final = 64
"""Events that one statement inserts, at most; a power of two."""


class Append(NamedTuple):
    """Events that want to stand behind a revision of a stream.

    Attributes:
        times: of each event, in microseconds since 1970, where they come from another log; else it is now.
        is_new: whether it cannot stand where one of its ids is known, be it that of a remembered verdict.
    """

    stream: str
    expected: int
    events: Sequence[NewEvent]
    times: Sequence[int] = ()
    is_new: bool = False


class _Head(NamedTuple):
    """A stream's number and last revision; no number while the stream does not exist."""

    stream: int | None
    revision: int


class _Place(NamedTuple):
    """Where an event stands."""

    position: int
    stream: int
    revision: int
    recorded_at: int


@dataclass(frozen=True, slots=True)
class _Transaction:
    """What one transaction knows and is about to insert."""

    connection: sqlite3.Connection
    recorded_at: int
    places: dict[bytes, _Place]
    verdicts: set[bytes]
    rows: list[tuple[object, ...]]


class AppendWriter:
    """Gives positions and revisions. What it remembers of the log is valid because nobody else writes.

    Attributes:
        remembered_heads: of how many streams the last revision is kept at hand.
    """

    def __init__(self, remembered_heads: int = 16_384) -> None:
        self._remembered_heads = remembered_heads
        self._heads: OrderedDict[str, _Head] = OrderedDict()
        self._position: int | None = None

    def write(
        self, connection: sqlite3.Connection, appends: Sequence[Append]
    ) -> list[Appended | WrongExpectedRevision]:
        """Place each append behind the ones before it, or say why it alone cannot stand where it wants to."""
        if self._position is None:
            self._position = last_position(connection)
        ids = [event.id.bytes for append in appends for event in append.events]
        known = select_in(
            connection, "SELECT event_id, position, stream, revision, recorded_at FROM events WHERE event_id", ids
        )
        places = {id: _Place(*place) for id, *place in known}
        new = [event.id.bytes for append in appends if append.is_new for event in append.events]
        verdicts = {id for (id,) in select_in(connection, "SELECT key FROM outcomes WHERE key", new)}
        transaction = _Transaction(connection, time.time_ns() // 1_000, places, verdicts, [])
        results = [self._place(append, transaction) for append in appends]
        _insert(connection, transaction.rows)
        while len(self._heads) > self._remembered_heads:
            self._heads.popitem(last=False)
        return results

    def forget(self) -> None:
        """The transaction did not happen: look everything up anew."""
        self._heads.clear()
        self._position = None

    def _place(self, append: Append, transaction: _Transaction) -> Appended | WrongExpectedRevision:
        head = self._head(append.stream, transaction.connection)
        ids = [event.id.bytes for event in append.events]
        if append.is_new and any(id in transaction.places or id in transaction.verdicts for id in ids):
            return WrongExpectedRevision(append.stream, append.expected, head.revision)
        if any(id in transaction.places for id in ids):
            return _repeated(append, head, [transaction.places.get(id) for id in ids])
        if head.revision != append.expected:
            return WrongExpectedRevision(append.stream, append.expected, head.revision)
        return self._insert(append, ids, head, transaction)

    def _insert(self, append: Append, ids: Sequence[bytes], head: _Head, transaction: _Transaction) -> Appended:
        stream, revision, position = head.stream, head.revision, self._position or 0
        first = position + 1
        times = append.times or [transaction.recorded_at] * len(ids)
        if stream is None:
            stream = _new_stream(transaction.connection, append.stream)
        for id, event, recorded_at in zip(ids, append.events, times, strict=True):
            position += 1
            revision += 1
            transaction.places[id] = _Place(position, stream, revision, recorded_at)
            transaction.rows.append(
                (position, stream, revision, recorded_at, id, event.type, event.data, event.metadata)
            )
        self._heads[append.stream] = _Head(stream, revision)
        self._position = position
        return Appended(tuple(range(first, position + 1)), from_microseconds(times[-1]))

    def _head(self, stream: str, connection: sqlite3.Connection) -> _Head:
        head = self._heads.get(stream)
        if head is not None:
            self._heads.move_to_end(stream)
            return head
        row = connection.execute(
            "SELECT id, (SELECT max(revision) FROM events WHERE stream = id) FROM streams WHERE name = ?", (stream,)
        ).fetchone()
        if row is None:
            return _Head(None, NO_STREAM)
        self._heads[stream] = head = _Head(*row)
        return head


def _repeated(append: Append, head: _Head, places: Sequence[_Place | None]) -> Appended | WrongExpectedRevision:
    """The answer to an append of ids that are known: the first answer again, if they stand just where they want to."""
    stands = [place for place in places if place is not None]
    if [(place.stream, place.revision) for place in stands] != [
        (head.stream, append.expected + 1 + index) for index in range(len(places))
    ]:
        return WrongExpectedRevision(append.stream, append.expected, head.revision)
    return Appended(tuple(place.position for place in stands), from_microseconds(stands[-1].recorded_at))


def _insert(connection: sqlite3.Connection, rows: Sequence[Sequence[object]]) -> None:
    """As many as possible with each statement, in powers of two, so that few have to be prepared.

    At each step of a statement the interpreter goes to another thread, and a busy one does not give it back at once.
    """
    at = 0
    while left := len(rows) - at:
        count = min(1 << (left.bit_length() - 1), _AT_ONCE)
        values = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * count)
        connection.execute(f"{_INSERT} {values}", [*chain(*rows[at : at + count])])
        at += count


def _new_stream(connection: sqlite3.Connection, name: str) -> int:
    (stream,) = connection.execute("INSERT INTO streams (name) VALUES (?) RETURNING id", (name,)).fetchone()
    return int(stream)
