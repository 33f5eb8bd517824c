"""The log: streams, revisions, positions and the rules of an append. No input or output, and no clock."""

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID, uuid4

from tests.support.eventstoredb.records import (
    ANY,
    DELETED,
    EXISTS,
    NO_STREAM,
    AlreadyCommitted,
    Answer,
    Committed,
    Proposed,
    Record,
    StreamDeleted,
    WrongExpectedVersion,
)
from tests.support.eventstoredb.remembered_ids import RememberedIds

TICKS: Final = 10_000_000
"""In a second."""

METADATA: Final = "$metadata"
TOMBSTONE: Final = "$streamDeleted"
FIRST: Final = "$$$stats"
"""A new log begins with metadata of a system stream."""

_position = attrgetter("position")


class Existence(Enum):
    """What a reader finds under a stream's name."""

    MISSING = auto()
    PRESENT = auto()
    DELETED = auto()
    """For now: an append brings it back."""
    TOMBSTONED = auto()
    """For good."""


class Window(NamedTuple):
    """The part of a stream that its metadata leaves visible.

    Attributes:
        first: the lowest revision.
        oldest: the lowest time of creation, in ticks.
    """

    first: int
    oldest: int

    def shows(self, record: Record) -> bool:
        """Whether a reader of the stream gets to see it."""
        return record.revision >= self.first and record.created >= self.oldest


class EventLog:
    """Everything that was committed, in order.

    Attributes:
        records: all of them, in the order of their positions.
        remembered: the ids that an append with ANY or EXISTS is compared with.
    """

    def __init__(self, records: Iterable[Record] = (), *, remembered_ids: int = 60_000) -> None:
        self.records: list[Record] = []
        self.remembered = RememberedIds(remembered_ids)
        self._streams: dict[str, list[Record]] = {}
        self._tombstoned: set[str] = set()
        self._restrictions: dict[str, dict[str, int]] = {}
        for record in records:
            self._add(record)

    @property
    def end(self) -> int:
        """The position that the next record will get."""
        return self.records[-1].end if self.records else 0

    def begin(self, now: int) -> tuple[Record, ...]:
        """What a new log holds from the first; nothing for one that has begun."""
        if self.records:
            return ()
        return (self._write(FIRST, Proposed(uuid4(), METADATA, True, b'{"$maxAge":864000}', b""), now),)  # noqa: FBT003 - is_json

    def stream(self, name: str) -> Sequence[Record]:
        """Every event of a stream, also those that its metadata hides; grows with the stream."""
        return self._streams.get(name, ())

    def current(self, name: str) -> int:
        """The revision of the stream's last event, which survives its deletion; NO_STREAM without one."""
        return len(self.stream(name)) - 1

    def existence(self, name: str) -> Existence:
        """What a reader finds; the metadata of a tombstoned stream is as gone as the stream."""
        if name in self._tombstoned or (name.startswith("$$") and name[2:] in self._tombstoned):
            return Existence.TOMBSTONED
        if name not in self._streams:
            return Existence.MISSING
        return Existence.DELETED if self._is_deleted(name) else Existence.PRESENT

    def window(self, name: str, now: int) -> Window:
        """What "$tb", "$maxCount" and "$maxAge" leave visible at this time, in ticks."""
        limits = {"$maxCount": 1} if name.startswith("$$") else self._restrictions.get(name, {})
        first = limits.get("$tb", 0)
        if "$maxCount" in limits:
            first = max(first, len(self.stream(name)) - limits["$maxCount"])
        return Window(first, now - limits["$maxAge"] * TICKS if "$maxAge" in limits else 0)

    def index(self, position: int) -> int:
        """The index of the first record at or after a position."""
        return bisect_left(self.records, position, key=_position)

    def is_boundary(self, position: int) -> bool:
        """Whether a record begins there, or none is there yet."""
        index = self.index(position)
        if index == len(self.records):
            return position >= self.end
        return self.records[index].position == position

    def append(self, name: str, expected: int, events: Sequence[Proposed], now: int) -> Answer:
        """Append all of the events or none, or recognise them as appended before.

        Args:
            name: of the stream.
            expected: the revision of the stream's last event, or NO_STREAM, ANY or EXISTS.
            events: none is allowed: it moves the log's end and is seen by nobody.
            now: in ticks since 1970.
        """
        refusal = self._check(name, expected, [event.id for event in events], now)
        if refusal is not None:
            return refusal
        comes_back = self._is_deleted(name)
        before = self.current(name)
        if not events:
            nothing = Record(self.end, name, NO_STREAM, UUID(int=0), "", False, now, b"", b"")  # noqa: FBT003 - is_json
            self.records.append(nothing)
            return Committed(before, nothing.position, (nothing,))
        written = [self._write(name, event, now) for event in events]
        last = written[-1]
        if comes_back:
            written.append(self._restrict(name, before + 1, now))
        return Committed(last.revision, last.position, tuple(written))

    def delete(self, name: str, expected: int, now: int) -> Answer:
        """Hide what the stream holds; an append brings the stream back, with later revisions."""
        current = self.current(name)
        refusal = self._check(name, expected, [uuid4()], now)
        if refusal is None and current == NO_STREAM:
            return WrongExpectedVersion(NO_STREAM)
        if refusal is not None:
            return refusal
        record = self._restrict(name, DELETED, now)
        return Committed(current, record.position, (record,))

    def tombstone(self, name: str, expected: int, now: int) -> Answer:
        """Delete the stream for good."""
        refusal = self._check(name, expected, [uuid4()], now)
        if refusal is not None:
            return refusal
        record = Record(self.end, name, DELETED, uuid4(), TOMBSTONE, False, now, b"", b"")  # noqa: FBT003 - is_json
        self._add(record)
        return Committed(DELETED, record.position, (record,))

    def _check(self, name: str, expected: int, ids: Sequence[UUID], now: int) -> Answer | None:
        if name in self._tombstoned:
            return StreamDeleted()
        current = self.current(name)
        if expected == EXISTS:
            if self._is_deleted(name):
                return StreamDeleted()
            if current == NO_STREAM and self.current(f"$${name}") == NO_STREAM:
                return WrongExpectedVersion(current)
        if expected in {ANY, EXISTS}:
            return self._check_remembered(name, ids, now)
        if expected < current:
            return self._check_stored(name, expected, ids, now)
        return WrongExpectedVersion(current) if expected > current else None

    def _check_remembered(self, name: str, ids: Sequence[UUID], now: int) -> Answer | None:
        found = [self.remembered.revision(name, event_id) for event_id in ids]
        if not found or found[0] is None:
            return None
        if None in found or found[-1] is None:
            return WrongExpectedVersion(self.current(name))
        return self._already(name, found[-1], now)

    def _check_stored(self, name: str, expected: int, ids: Sequence[UUID], now: int) -> Answer | None:
        stored = [record.id for record in self.stream(name)[expected + 1 : expected + 1 + len(ids)]]
        if ids and stored == list(ids):
            return self._already(name, expected + len(ids), now)
        if expected == NO_STREAM and self._is_deleted(name) and ids and stored[0] != ids[0]:
            return None
        return WrongExpectedVersion(self.current(name))

    def _already(self, name: str, revision: int, now: int) -> AlreadyCommitted:
        record = self.stream(name)[revision]
        readable = self.window(name, now).shows(record)
        return AlreadyCommitted(revision, record.position if readable else None)

    def _is_deleted(self, name: str) -> bool:
        return self._restrictions.get(name, {}).get("$tb") == DELETED

    def _restrict(self, name: str, truncate_before: int, now: int) -> Record:
        data = json.dumps({"$tb": truncate_before}).encode()
        return self._write(f"$${name}", Proposed(uuid4(), METADATA, True, data, b""), now)  # noqa: FBT003 - is_json

    def _write(self, name: str, event: Proposed, now: int) -> Record:
        revision = self.current(name) + 1
        record = Record(self.end, name, revision, event.id, event.type, event.is_json, now, event.data, event.metadata)
        self._add(record)
        self.remembered.add(name, event.id, revision)
        return record

    def _add(self, record: Record) -> None:
        self.records.append(record)
        if record.revision == DELETED:
            self._tombstoned.add(record.stream)
        elif record.revision != NO_STREAM:
            self._streams.setdefault(record.stream, []).append(record)
            if record.stream.startswith("$$"):
                self._restrictions[record.stream[2:]] = _limits(record)


def _limits(record: Record) -> dict[str, int]:
    """What a stream's metadata says about its visibility; nothing where it is no JSON object."""
    try:
        metadata = json.loads(record.data) if record.is_json else {}
    except ValueError:
        return {}
    if not isinstance(metadata, dict):
        return {}
    return {key: metadata[key] for key in ("$tb", "$maxCount", "$maxAge") if isinstance(metadata.get(key), int)}
