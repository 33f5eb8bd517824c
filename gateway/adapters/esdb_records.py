"""Events as EventStoreDB keeps them: names of streams, and the time in front of the metadata. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from gateway.adapters import esdb_client
from gateway.messages import NewEvent, RecordedEvent

_STAMP: Final = b'{"recorded_at":"'
_STAMPED: Final = len(_STAMP) + len("2026-11-23T11:22:33.123456Z") + 1
_EMPTY: Final = b"{}"


@dataclass(frozen=True, slots=True)
class StreamNames:
    """How streams are called in the store.

    Attributes:
        prefix: before each name.
        categories: of the streams that belong to the log.
    """

    prefix: str
    categories: Sequence[str]

    def in_store(self, stream: str) -> str:
        """The name under which the store has a stream of ours."""
        return self.prefix + stream

    def of_ours(self, name: str) -> str:
        """The stream that this name stands for."""
        return name.removeprefix(self.prefix)

    @property
    def pattern(self) -> str:
        """What all our streams match: one expression, as the client joins several with a wrong precedence."""
        return f"{re.escape(self.prefix)}(?:{'|'.join(map(re.escape, self.categories))})-.*"

    def is_ours(self, name: str) -> bool:
        """Whether a stream belongs to the log."""
        return re.fullmatch(self.pattern, name, re.DOTALL) is not None


def to_store(event: NewEvent, recorded_at: datetime) -> Any:  # noqa: ANN401 - the client's own type
    """The event for the client, its time in front of its metadata.

    Raises:
        ValueError: the metadata are no JSON object.
    """
    if not event.metadata.startswith(b"{"):
        raise ValueError("an event's metadata must be a JSON object")
    return esdb_client.NewEvent(
        id=event.id, type=event.type, data=event.data, metadata=stamp(event.metadata, recorded_at)
    )


def from_store(event: Any, names: StreamNames) -> RecordedEvent:  # noqa: ANN401 - the client's own type
    """The event as it was appended; one that somebody else wrote has the store's time."""
    recorded_at, metadata = unstamp(event.metadata)
    return RecordedEvent(
        position=event.commit_position,
        stream=names.of_ours(event.stream_name),
        revision=event.stream_position,
        recorded_at=recorded_at or event.recorded_at,
        id=event.id,
        type=event.type,
        data=event.data,
        metadata=metadata,
    )


def stamp(metadata: bytes, at: datetime) -> bytes:
    """Put a time in front of a JSON object."""
    time = at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", 'Z"').encode()
    return _STAMP + time + (b"}" if metadata == _EMPTY else b"," + metadata[1:])


def unstamp(metadata: bytes) -> tuple[datetime | None, bytes]:
    """Take the time off again; ``None`` where there is none."""
    if not metadata.startswith(_STAMP):
        return None, metadata
    try:
        at = datetime.fromisoformat(metadata[len(_STAMP) : _STAMPED - 1].decode())
    except ValueError:
        return None, metadata
    rest = metadata[_STAMPED:]
    return at, b"{" + rest[1:] if rest.startswith(b",") else _EMPTY
