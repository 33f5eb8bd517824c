"""The frozen records that travel through the gateway."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from gateway.domain.decider import Command, Decider, Role
from gateway.domain.outages import OutageKind
from gateway.errors import Refusal
from gateway.records import dataclass

NO_STREAM = -1
"""The revision of a stream that does not exist, as an append expects it."""


@dataclass(frozen=True, slots=True)
class MessageProperties:
    """The MQTT 5 properties that the gateway reads or writes; all empty from and for a 3.1.1 client.

    Attributes:
        expiry: Message Expiry Interval in seconds, what is left of it when the broker delivers.
        complete: false where there were more than the gateway reads; then it has read none.
    """

    response_topic: str | None = None
    correlation_data: bytes | None = None
    content_type: str | None = None
    expiry: int | None = None
    user: tuple[tuple[str, str], ...] = ()
    complete: bool = True


NO_PROPERTIES = MessageProperties()


class WaitFor(StrEnum):
    """When an accepted command is acknowledged."""

    PERSISTED = "persisted"
    PROJECTED = "projected"


@dataclass(frozen=True, slots=True)
class ReplyTo:
    """Where an acknowledgement goes, and the sender's Correlation Data, which comes back unchanged."""

    topic: str
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A command as the gateway received it, in its envelope.

    Attributes:
        key: id of the first event that it would cause; its outcome is remembered under it.
        command_id: the sender's id, or one that the gateway made.
        sender_gave_id: whether copies of it can be recognised.
        actor, device, name: from the topic.
        role: what the actor is to the device; ``None`` for a stranger.
        command: the validated command; ``None`` where ``refusal`` says why there is none.
        decider: the aggregate that the command is for; ``None`` for an unknown command.
        refusal: the intake's verdict, where it already refused.
        digest: 16 bytes that stand for the content; another content under the same id is refused.
        received_at: when the broker delivered it, UTC.
    """

    key: UUID
    command_id: str
    sender_gave_id: bool
    actor: str
    device: str
    name: str
    role: Role | None
    command: Command | None
    decider: Decider[Any] | None
    refusal: Refusal | None
    digest: bytes
    received_at: datetime
    reply: ReplyTo
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    expected_revision: int | None = None
    wait_for: WaitFor = WaitFor.PERSISTED
    dry_run: bool = False
    correlation_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event on its way to the store: ids fixed, already bytes."""

    id: UUID
    type: str
    data: bytes
    metadata: bytes


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event in the store.

    Attributes:
        position: its place in the whole log; grows from event to event.
        stream: for example ``device-pump-7``.
        revision: its place in the stream, from 0.
        recorded_at: when the store wrote it, UTC.
        data, metadata: UTF-8 JSON.
    """

    position: int
    stream: str
    revision: int
    recorded_at: datetime
    id: UUID
    type: str
    data: bytes
    metadata: bytes


@dataclass(frozen=True, slots=True)
class Appended:
    """What the store says of an append.

    Attributes:
        positions: of each event, in order.
        recorded_at: when they were written, UTC.
    """

    positions: tuple[int, ...]
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregate as of a revision.

    Attributes:
        state: of the decider's own type.
        degraded: why it takes no commands: its stream holds an event that this gateway cannot read.
    """

    state: Any
    revision: int = NO_STREAM
    degraded: str | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """An event by its place and its birth: where it does not stand, the log is not the one that it was seen in.

    The id alone would not do. A log that lost its end may be given the same command again, behind others than before.
    """

    stream: str
    revision: int
    position: int
    event_id: UUID
    recorded_at: datetime

    @classmethod
    def of(cls, recorded: RecordedEvent) -> "Mark":
        """The mark of this event."""
        return cls(recorded.stream, recorded.revision, recorded.position, recorded.id, recorded.recorded_at)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An aggregate's state as of a revision: disposable, rebuilt from the stream at will.

    Attributes:
        event_id: of the event at this revision, by which the stream is recognised as the one it was made of.
    """

    revision: int
    event_id: UUID
    state: bytes


@dataclass(frozen=True, slots=True)
class EventRef:
    """An event as an acknowledgement names it; ``data`` only in a dry run."""

    id: UUID
    type: str
    revision: int
    data: JsonValue = None


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """Why a command was refused, as the sender is told."""

    type: str
    message: str
    field: str | None = None
    value: JsonValue = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The gateway's verdict on a command: the same for every copy of it, for ever.

    Attributes:
        code: as in the protocol's table.
        digest: of the content that it was given for.
        received_at: when the first copy came, UTC.
        revision: of the device after it; ``None`` where the device does not exist.
        position: of the command's last event in the log.
        persisted_at: when its events or the verdict itself became durable, UTC.
        retry_after_ms: set on a transient verdict, which is never remembered.
        premise: key of a command before it, whose events were not in the log yet; the verdict holds only if they are.
    """

    code: int
    digest: bytes
    received_at: datetime
    revision: int | None = None
    position: int | None = None
    events: tuple[EventRef, ...] = ()
    error: ErrorDetail | None = None
    persisted_at: datetime | None = None
    retry_after_ms: int | None = None
    premise: UUID | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome together with the command that it was given to.

    Attributes:
        key: id of the first event that the command causes, or would have caused.
        command_id, actor, device, command: the command, by its topic and its sender's id.
    """

    key: UUID
    command_id: str
    actor: str
    device: str
    command: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """What one copy of a command is told.

    Attributes:
        duplicate: whether this copy had no effect because an earlier one was settled.
    """

    outcome: Outcome
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class ParkedEntry:
    """That a command waits in the inbox.

    Attributes:
        arrival: number in the order in which commands reached the gateway; never given twice.
    """

    arrival: int
    actor: str
    device: str


@dataclass(frozen=True, slots=True)
class Parked:
    """A command as the broker delivered it, kept until the store is back.

    Attributes:
        entry: its place in the inbox.
        command_id: its sender's id, or the one that the gateway made when it came.
        copy_of: 16 bytes that a second copy of the same message shares; ``None`` where its sender gave no id.
        received_at: when the broker delivered it, UTC.
    """

    entry: ParkedEntry
    command_id: str
    copy_of: bytes | None
    received_at: datetime
    topic: str
    payload: bytes
    retain: bool
    properties: MessageProperties


@dataclass(frozen=True, slots=True)
class PendingOutage:
    """An outage that is not in the log yet: it goes on, or might come back, or the store was away.

    Attributes:
        id: that it is recorded under; its command id in the log.
        ended_at: ``None`` while it goes on.
        times: how often it began, within a short time.
        cause: in the words of the newest failure.
        affected: what it may have cost.
    """

    id: str
    kind: OutageKind
    began_at: datetime
    ended_at: datetime | None = None
    times: int = 1
    cause: str = ""
    affected: str = ""
