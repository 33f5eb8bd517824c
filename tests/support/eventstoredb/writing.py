"""Events, and appends of them, for tests of the log itself."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from tests.support.eventstoredb.log import EventLog
from tests.support.eventstoredb.records import Answer, Proposed


def event(type: str = "Counted", *, id: UUID | None = None, data: bytes = b"{}") -> Proposed:
    """One event, new unless it has an id."""
    return Proposed(id or uuid4(), type, True, data, b"")  # noqa: FBT003 - is_json


def events(count: int) -> list[Proposed]:
    """New events."""
    return [event() for _ in range(count)]


def append(log: EventLog, stream: str, expected: int, events: Sequence[Proposed], now: int = 0) -> Answer:
    """Append at the beginning of time."""
    return log.append(stream, expected, events, now)
