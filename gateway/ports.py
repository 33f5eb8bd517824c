"""What the gateway needs from outside, as protocols. Each says what it promises and what it raises."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from gateway.domain.decider import Document
from gateway.messages import (
    NO_PROPERTIES,
    NO_STREAM,
    Appended,
    Mark,
    MessageProperties,
    NewEvent,
    Outcome,
    Parked,
    ParkedEntry,
    PendingOutage,
    RecordedEvent,
    Snapshot,
    Verdict,
)


class Delivery(Protocol):
    """A message from the broker, not yet acknowledged."""

    @property
    def topic(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def retain(self) -> bool: ...
    @property
    def redelivered(self) -> bool:
        """Whether the broker says that it may have delivered it before (DUP)."""
        ...

    @property
    def properties(self) -> MessageProperties: ...

    def acknowledge(self) -> None:
        """Let the broker forget it (PUBACK), in the order of receipt.

        If the connection that it came on is gone, the broker is told when it delivers it again.
        """
        ...


class Publisher(Protocol):
    """Sends messages to the broker."""

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, properties: MessageProperties = NO_PROPERTIES
    ) -> "asyncio.Future[None]":
        """Hand a message over with QoS 1, without waiting.

        The future is done when the broker has it. It fails with :class:`~gateway.errors.LinkLost` at once while there
        is no connection, or when the connection ends first; with :class:`~gateway.errors.PublishRefused` when the
        broker refuses. A future that nobody awaits raises no complaint.
        """
        ...


class LogReader(Protocol):
    """The event log for those who look back: streams of events with revisions, all of them in one order of positions.

    Every method raises :class:`~gateway.errors.StoreUnavailable` while the store is away.
    """

    async def identify(self) -> str:
        """Identity of this log: a checkpoint of another log is worth nothing here."""
        ...

    async def read_stream(self, stream: str, *, after: int = NO_STREAM, limit: int = 1_000) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a revision over ``after``, in order; none for an unknown stream."""
        ...

    async def read_all(self, *, after: int, limit: int = 1_000) -> Sequence[RecordedEvent]:
        """At most ``limit`` events with a position over ``after``, in order."""
        ...

    async def head(self) -> int:
        """Position of the last event; 0 for an empty log. Positions start at 1 or above."""
        ...


class EventStore(LogReader, Protocol):
    """The event log for those who write it and follow it.

    Every method raises :class:`~gateway.errors.StoreUnavailable` while the store is away.
    """

    @property
    def newest(self) -> int:
        """The highest position that is known without asking: what :meth:`head` tells, for those who cannot wait."""
        ...

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        """Write all the events, or none, behind the revision ``expected`` (``NO_STREAM`` for a new stream).

        Durable on return: after fsync, or after the cluster has committed. At least one event; metadata is an object.
        The same events at the same place again are recognised by their ids and answered as the first time.

        Raises:
            WrongExpectedRevision: the stream is elsewhere: nothing was written.
            StoreUnavailable: whether it was written is unknown; the same call again finds out.
        """
        ...

    def subscribe(self, *, after: int) -> AsyncGenerator[Sequence[RecordedEvent], None]:
        """Every event with a position over ``after``, in order, without gap or repeat, in batches, for ever.

        Catches up from the log, then goes live; a slow reader falls back to catching up, at its own pace.
        """
        ...


class AppendNew(Protocol):
    """Appends events of commands of which nothing is known, as :meth:`EventStore.append` does otherwise."""

    async def __call__(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        """Write all the events, or none.

        Raises:
            WrongExpectedRevision: the stream is elsewhere, or one of the ids is known: it stands in the log, wherever,
                or a verdict is remembered under it. Nothing was written.
            StoreUnavailable: whether it was written is unknown.
        """
        ...


class ImportingStore(EventStore, Protocol):
    """An event store that takes over the log of another one."""

    async def append_recorded(self, stream: str, expected: int, events: Sequence[RecordedEvent]) -> None:
        """Write events of one stream as :meth:`append` does, but with the times that they have."""
        ...


class Snapshots(Protocol):
    """States of aggregates, kept to save time. Raises :class:`~gateway.errors.StoreUnavailable`."""

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        """The newest snapshot of a stream; whoever uses it checks that its event stands where it says."""
        ...

    async def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        """Keep a snapshot in place of the older one."""
        ...


class Outcomes(Protocol):
    """The memory of what became of every command id. Raises :class:`~gateway.errors.StoreUnavailable`."""

    async def find(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:
        """The outcomes of those of these commands that are known, accepted and refused alike.

        No event of this stream up to this revision is overlooked: who decides on the state as of it, and appends
        behind it, gives no command a second effect. ``NO_STREAM`` and any name where the commands concern no stream.
        Whether a verdict's premise holds is for the caller to find out.
        """
        ...

    async def remember(self, verdicts: Sequence[Verdict]) -> None:
        """Keep verdicts that left no events in the log; durable on return, in the place of older ones.

        Accepted commands need not be told: their events are the memory.
        """
        ...

    async def prune(self, before: datetime) -> int:
        """Forget what :meth:`remember` kept before this time; how many."""
        ...


class OutcomeSearch(Protocol):
    """The memory of outcomes, asked by the sender's id alone, or by what a command caused.

    Raises :class:`~gateway.errors.StoreUnavailable`.
    """

    async def find_by_command_id(self, command_id: str) -> Sequence[Verdict]:
        """The verdicts on the commands that carry this id, whoever sent them and for whichever device, oldest first."""
        ...

    async def find_by_event_id(self, id: UUID) -> Verdict | None:
        """The verdict on the command that caused this event, or that would have caused it first: its own key."""
        ...


class SearchableOutcomes(Outcomes, OutcomeSearch, Protocol):
    """The memory of outcomes, for those who keep it and for those who ask."""


class Inbox(Protocol):
    """Commands that wait for the store. Raises :class:`~gateway.errors.StoreUnavailable`."""

    async def waiting(self) -> Sequence[ParkedEntry]:
        """All of them, without their content, in the order of arrival."""
        ...

    async def park(self, commands: Sequence[Parked]) -> Sequence[int]:
        """Keep commands; durable on return. Returns the arrival number under which each is kept.

        That is its own, or the one of a copy that was kept before.

        Raises:
            StorageFull: there would be too little room left on the disk; none was kept.
        """
        ...

    async def read(self, device: str, *, after: int, limit: int) -> Sequence[Parked]:
        """At most ``limit`` commands for this device with an arrival number over ``after``, in the order of arrival."""
        ...

    async def remove(self, arrivals: Sequence[int]) -> None:
        """Forget commands whose final acknowledgement is with the broker."""
        ...


class PendingOutages(Protocol):
    """Outages that are not in the log yet. Raises :class:`~gateway.errors.StoreUnavailable`."""

    async def load(self) -> Sequence[PendingOutage]:
        """All of them, oldest first."""
        ...

    async def keep(self, outage: PendingOutage) -> None:
        """Keep an outage in place of what was kept under its id; durable on return."""
        ...

    async def remove(self, id: str) -> None:
        """Forget one that is in the log."""
        ...


class Cursors(Protocol):
    """Durable positions: how far something has come in the log. Raises :class:`~gateway.errors.StoreUnavailable`."""

    async def load_cursor(self, name: str) -> int | None:
        """The position last saved under this name."""
        ...

    async def save_cursor(self, name: str, position: int) -> None:
        """Keep a position; durable on return."""
        ...


class ReadModel(Protocol):
    """The read cache: tables of documents by key, and how far in the log they have come. In memory; kept by its owner.

    Documents are kept as JSON, and read anew each time that somebody asks for them.
    """

    @property
    def log_id(self) -> str | None:
        """Identity of the log that the documents were made of; ``None`` as long as there are none."""
        ...

    @property
    def position(self) -> int:
        """The last event that the documents reflect; 0 for none."""
        ...

    def get(self, table: str, key: str) -> Document | None:
        """The document under this key."""
        ...

    def encoded(self, table: str, key: str) -> bytes | None:
        """The same as JSON."""
        ...

    def keys(self, table: str) -> Iterable[str]:
        """The key of every document of a table."""
        ...

    def rows(self, table: str) -> Iterable[bytes]:
        """Every document of a table as JSON."""
        ...

    def documents(self, table: str) -> Iterable[Document]:
        """Every document of a table, one after the other: of a large table a long work."""
        ...

    def put(self, table: str, key: str, document: Document) -> None:
        """Put a document in the place of the older one; its field ``id`` must be the key."""
        ...

    def put_encoded(self, table: str, key: str, encoded: bytes) -> None:
        """The same with a document that is JSON already."""
        ...

    def remove(self, table: str, key: str) -> None:
        """Take a document out, if it is there."""
        ...

    @property
    def mark(self) -> Mark | None:
        """The event at the position, by which the log is recognised; ``None`` as long as there are none."""
        ...

    def advance(self, position: int, mark: Mark | None = None) -> None:
        """Say that the documents reflect the log up to here."""
        ...

    def clear(self, log_id: str | None = None) -> None:
        """Start again with nothing, from now on of this log if one is named."""
        ...


class Clock(Protocol):
    """The time, so that tests can set it."""

    def now(self) -> datetime:
        """Now, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump."""
        ...


class Supervisor(Protocol):
    """Whoever starts this process, and again when it is stuck or dead. It is told what goes on; nothing fails."""

    @property
    def watchdog(self) -> float | None:
        """Seconds after which it takes a process that is not :meth:`alive` for stuck; ``None`` if it does not watch."""
        ...

    def ready(self) -> None:
        """The start, or a reload, is over."""
        ...

    def reloading(self) -> None:
        """A reload begins."""
        ...

    def stopping(self) -> None:
        """The end begins."""
        ...

    def status(self, text: str) -> None:
        """How it goes, in a line."""
        ...

    def alive(self) -> None:
        """The process gets on."""
        ...
