"""What can be asked of the database: synchronous, on one connection, in bounded pages.

Every answer is fetched whole: a cursor that is left half read would keep the WAL from being recycled.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID

from gateway.adapters.outcome_record import decode_outcome
from gateway.adapters.sqlite_file import connect_bystander, last_position
from gateway.codec import command_key, device_of, follows, verdict_of
from gateway.errors import StateError
from gateway.ids import range_after
from gateway.messages import NO_STREAM, PendingOutage, RecordedEvent, Verdict
from gateway.ports import Devices

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_CHUNK: Final = 256

_EVENT: Final = """
    SELECT position, name, revision, recorded_at, event_id, type, data, metadata
    FROM events JOIN streams ON streams.id = events.stream
"""

_OUTCOME: Final = "SELECT key, command_id, actor, device, command, outcome FROM outcomes"


@dataclass(frozen=True, slots=True)
class SqliteReader:
    """The questions, on a connection."""

    connection: sqlite3.Connection

    @property
    def log_id(self) -> str:
        """Identity of the event log."""
        (log_id,) = self.connection.execute("SELECT value FROM identity WHERE name = 'log_id'").fetchone()
        return cast("str", log_id)

    def head(self) -> int:
        """Position of the last event; 0 for an empty log."""
        return last_position(self.connection)

    def pending_outages(self) -> list[PendingOutage]:
        """The outages that are not in the log yet, oldest first."""
        rows = self.connection.execute(
            "SELECT id, kind, began_at, ended_at, times, cause, affected FROM pending_outages ORDER BY began_at, id"
        ).fetchall()
        time = datetime.fromisoformat
        return [
            PendingOutage(id_, kind, time(began), end and time(end), *rest) for id_, kind, began, end, *rest in rows
        ]

    def read_stream(self, stream: str, *, after: int = NO_STREAM, limit: int = 1_000) -> list[RecordedEvent]:
        """At most ``limit`` events with a revision over ``after``, in order; none for an unknown stream."""
        return self._events("WHERE name = ? AND revision > ? ORDER BY revision LIMIT ?", (stream, after, limit))

    def read_all(self, *, after: int, limit: int = 1_000) -> list[RecordedEvent]:
        """At most ``limit`` events with a position over ``after``, in order."""
        return self._events("WHERE position > ? ORDER BY position LIMIT ?", (after, limit))

    def find(self, keys: Sequence[UUID]) -> dict[UUID, bytes | list[RecordedEvent]]:
        """What is known of these commands: the record of a remembered outcome, or all the events that it caused."""
        ids = [key.bytes for key in keys]
        found: dict[UUID, bytes | list[RecordedEvent]] = {
            UUID(bytes=key): record
            for key, record in select_in(self.connection, "SELECT key, outcome FROM outcomes WHERE key", ids)
        }
        for row in select_in(self.connection, f"{_EVENT} WHERE event_id", ids):
            first = _recorded(row)
            found[first.id] = self._events_of_command(first)
        return found

    def find_by_command_id(
        self, command_id: str, *, of: Devices | None = None, after: UUID | None = None, limit: int = 100
    ) -> tuple[list[Verdict], UUID | None]:
        """The verdicts on the commands that carry this id; see :class:`~gateway.ports.OutcomeSearch`.

        Looks at ``limit`` events and as many remembered outcomes, and reads on only of the devices that are wanted.
        """
        low, high = (bound.bytes for bound in range_after(command_id, after))
        remembered = self._remembered(
            "WHERE key > ? AND key <= ? AND command_id = ? ORDER BY key LIMIT ?", (low, high, command_id, limit)
        )
        events = self._events("WHERE event_id > ? AND event_id <= ? ORDER BY event_id LIMIT ?", (low, high, limit))
        pages = [verdict.key for verdict in remembered], [event.id for event in events]
        # of what was cut, the other may have more before the place where it was
        behind = min((page[-1] for page in pages if len(page) == limit), default=None)
        verdicts = {verdict.key: verdict for verdict in remembered if of is None or of(verdict.device)}
        for event in events:
            if (behind is None or event.id <= behind) and (of is None or of(device_of(event.stream))):
                verdict = verdict_of(self._events_of_command(event), command_id)
                if verdict is not None:
                    verdicts[verdict.key] = verdict
        return [verdicts[key] for key in sorted(verdicts) if behind is None or key <= behind], behind

    def find_by_event_id(self, id: UUID) -> Verdict | None:
        """The verdict on the command that caused this event, or whose key it is."""
        for event in self._events("WHERE event_id = ?", (id.bytes,)):
            for first in self._events("WHERE event_id = ?", (command_key(event).bytes,)):
                return verdict_of(self._events_of_command(first))
        return next(iter(self._remembered("WHERE key = ?", (id.bytes,))), None)

    def indexed_between(self, low: UUID, high: UUID, *, limit: int) -> list[tuple[UUID, str, int]]:
        """Id, stream and revision of indexed events of a log elsewhere, by id: those over ``low``, up to ``high``."""
        rows = self.connection.execute(
            "SELECT event_id, name, event_index.revision FROM event_index JOIN indexed ON indexed.id = stream"
            " WHERE event_id > ? AND event_id <= ? ORDER BY event_id LIMIT ?",
            (low.bytes, high.bytes, limit),
        ).fetchall()
        return [(UUID(bytes=id_), stream, revision) for id_, stream, revision in rows]

    def index_position(self) -> int:
        """Position up to which the events of a log elsewhere are indexed."""
        row = self.connection.execute("SELECT value FROM identity WHERE name = 'index_position'").fetchone()
        return int(row[0]) if row is not None else 0

    def _remembered(self, condition: str, values: Sequence[object]) -> list[Verdict]:
        return [
            Verdict(UUID(bytes=key), command_id, actor, device, command, decode_outcome(record))
            for key, command_id, actor, device, command, record in self.connection.execute(
                f"{_OUTCOME} {condition}", values
            ).fetchall()
        ]

    def _events(self, condition: str, values: Sequence[object]) -> list[RecordedEvent]:
        return [_recorded(row) for row in self.connection.execute(f"{_EVENT} {condition}", values).fetchall()]

    def _events_of_command(self, first: RecordedEvent) -> list[RecordedEvent]:
        """All the events that a command caused, of which this is the first."""
        events = [first]
        while page := self.read_stream(first.stream, after=events[-1].revision, limit=8):
            for event in page:
                if not follows(event, events):
                    return events
                events.append(event)
        return events


@contextmanager
def open_read_only(path: Path) -> Iterator[SqliteReader]:
    """The database for a short look from another process, while the gateway runs or not; writes nothing.

    Opened while the gateway is stopped, it shows the file as it was then.

    Raises:
        StateError: there is no database, or it cannot be read.
    """
    try:
        with closing(connect_bystander(path)) as connection:
            yield SqliteReader(connection)
    except sqlite3.Error as error:
        raise StateError(f"{path} cannot be read: {error}") from error


def select_in(connection: sqlite3.Connection, select: str, keys: Sequence[bytes]) -> list[Any]:
    """The rows of a query that ends in a column's name, for which this column is one of the keys."""
    rows: list[Any] = []
    for start in range(0, len(keys), _CHUNK):
        chunk = list(keys[start : start + _CHUNK])
        # a power of two, filled up with repeats, so that few statements have to be prepared
        chunk += chunk[-1:] * ((1 << (len(chunk) - 1).bit_length()) - len(chunk))
        rows += connection.execute(f"{select} IN ({','.join('?' * len(chunk))})", chunk).fetchall()
    return rows


def to_microseconds(at: datetime) -> int:
    """A time as the database keeps it: whole microseconds since 1970, UTC."""
    return (at - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The time that :func:`to_microseconds` was given, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _recorded(row: Any) -> RecordedEvent:  # noqa: ANN401 - sqlite3 does not type its rows
    position, stream, revision, recorded_at, id, type, data, metadata = row
    return RecordedEvent(
        position, stream, revision, from_microseconds(recorded_at), UUID(bytes=id), type, data, metadata
    )
