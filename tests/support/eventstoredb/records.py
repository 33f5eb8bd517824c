"""What the log holds, and what it answers to an append."""

from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

NO_STREAM: Final = -1
ANY: Final = -2
EXISTS: Final = -4
DELETED: Final = 2**63 - 1
"""The revision of a tombstone, and the "$tb" of a stream that is deleted but may come back."""

HEADER: Final = 96
"""Bytes of a record besides what it holds."""


class Record(NamedTuple):
    """An event in the log; one with the revision NO_STREAM is an empty append, which nobody gets to see.

    Attributes:
        position: of its first byte in the log.
        created: in ticks of 100 ns since 1970.
    """

    position: int
    stream: str
    revision: int
    id: UUID
    type: str
    is_json: bool
    created: int
    data: bytes
    metadata: bytes

    @property
    def end(self) -> int:
        """The position of the record after this one."""
        texts = len(self.stream.encode()) + len(self.type.encode())
        return self.position + HEADER + texts + len(self.data) + len(self.metadata)


class Proposed(NamedTuple):
    """An event that a client wants to append."""

    id: UUID
    type: str
    is_json: bool
    data: bytes
    metadata: bytes

    @property
    def size(self) -> int:
        """In bytes, as it counts towards the limit of an append; the type counts in UTF-16."""
        return len(self.data) + len(self.metadata) + len(self.type.encode("utf-16-le"))


@dataclass(frozen=True, slots=True)
class Committed:
    """The append is in the log.

    Attributes:
        revision, position: of its last event.
        records: what was written, to be made durable; also what the log wrote on its own account.
    """

    revision: int
    position: int
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class AlreadyCommitted:
    """The append was in the log before: this is a retry.

    Attributes:
        revision: of its last event.
        position: of its last event, or ``None`` where that can no longer be read.
    """

    revision: int
    position: int | None


@dataclass(frozen=True, slots=True)
class WrongExpectedVersion:
    """The stream is at another revision; nothing was written.

    Attributes:
        current: the revision of its last event, or NO_STREAM.
    """

    current: int


@dataclass(frozen=True, slots=True)
class StreamDeleted:
    """The stream takes no such append any more; nothing was written."""


Answer = Committed | AlreadyCommitted | WrongExpectedVersion | StreamDeleted
