"""Everything that can go wrong, in one tree.

GatewayError
├── Refusal                  the sender's doing: becomes an acknowledgement
│   ├── BadEnvelope      400   ├── NotPermitted     403   ├── NotFound        404
│   ├── IdConflict       409   ├── Gone             410   ├── WrongRevision   412
│   ├── TooLarge         413   ├── Invalid          422
│   └── Deferral               transient: send again with the same id, never remembered
│       ├── TimedOut     408   ├── TooFast          429
│       ├── Fault        500   └── Overloaded       503
├── Unavailable              the world's doing: retried
│   ├── StoreUnavailable
│   │   ├── NoSuchPosition
│   │   └── StorageFull
│   └── LinkLost
├── PublishRefused           the broker will not take this message, now or later
├── UnreadableTopic          a delivery that names no actor, device or command
├── WrongExpectedRevision    somebody else appended first
├── MigrationError           a log cannot be copied, or its copy differs
├── EnrolmentError           a certificate cannot be issued or revoked
├── StateError               the state directory cannot be used (exit status 78)
└── SettingsError            the settings cannot be used (exit status 78)
"""

from typing import ClassVar

from pydantic import JsonValue


class GatewayError(Exception):
    """Root of every error that the gateway raises on purpose."""


class Refusal(GatewayError):
    """A command will not be executed, and its sender is told why.

    Attributes:
        code: the acknowledgement's stable number.
        type: the acknowledgement's stable word, such as ``already-registered``.
        message: for people; may change.
        field: dotted path of the offending field, where one is to blame.
        value: the offending value, bounded, where it helps.
        retryable: whether the same command id may be sent again.
    """

    code: ClassVar[int]
    type: str
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, type: str | None = None, field: str | None = None, value: JsonValue = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.value = value
        if type is not None:
            self.type = type


class BadEnvelope(Refusal):
    """The payload is not JSON, or its envelope is not one of ours."""

    code = 400
    type = "bad-envelope"


class NotPermitted(Refusal):
    """This actor may not do that."""

    code = 403
    type = "not-permitted"


class NotFound(Refusal):
    """There is no such device or command."""

    code = 404
    type = "unknown-device"


class IdConflict(Refusal):
    """The command id was used before, with other content."""

    code = 409
    type = "command-id-reused"


class Gone(Refusal):
    """The command came too late, or as a retained message."""

    code = 410
    type = "expired"


class WrongRevision(Refusal):
    """The device is not at the revision that the sender expected."""

    code = 412
    type = "wrong-revision"


class TooLarge(Refusal):
    """The payload is over the limit."""

    code = 413
    type = "too-large"


class Invalid(Refusal):
    """A field is invalid, or the device's state forbids the command."""

    code = 422
    type = "invalid-field"


class Deferral(Refusal):
    """A transient answer: the sender may send the same command id again.

    Attributes:
        retry_after_ms: how long the sender should wait before it does.
    """

    retryable = True

    def __init__(self, message: str, *, type: str | None = None, retry_after_ms: int = 1_000) -> None:
        super().__init__(message, type=type)
        self.retry_after_ms = retry_after_ms


class TimedOut(Deferral):
    """The read cache did not reach the wanted position in time."""

    code = 408
    type = "timed-out"


class TooFast(Deferral):
    """This actor sends faster than its limit."""

    code = 429
    type = "too-fast"


class Fault(Deferral):
    """A fault in the gateway itself; the command is in the dead-letter topic."""

    code = 500
    type = "gateway-fault"


class Overloaded(Deferral):
    """The event store is away, the disk is full, or too much waits already."""

    code = 503
    type = "store-unavailable"


class Unavailable(GatewayError):
    """Something outside is away; the same call may succeed later."""


class StoreUnavailable(Unavailable):
    """The event store cannot be reached or cannot write; whether a write took effect is unknown."""


class NoSuchPosition(StoreUnavailable):
    """The event store does not read on from there: it is no position that it has told."""


class LongHistory(StoreUnavailable):
    """Only one stream takes so long: it is being read, and the store answers."""


class StorageFull(StoreUnavailable):
    """The disk is full, a quota is used up, or the file system is read-only."""


class LinkLost(Unavailable):
    """The broker connection is down, or went down before the broker confirmed."""


class PublishRefused(GatewayError):
    """The broker refused a message for good, for example because its ACL denies the topic."""


class UnreadableTopic(GatewayError):
    """The topic does not name an actor, a device and a command."""


class WrongExpectedRevision(GatewayError):
    """The stream is at another revision than the append expected; nothing was written.

    Attributes:
        stream: the stream's name.
        expected: the revision that the append named; -1 for no stream.
        actual: the revision that the stream has; -1 where it does not exist.
    """

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(f"{stream} is at revision {actual}, not {expected}")
        self.stream = stream
        self.expected = expected
        self.actual = actual


class MigrationError(GatewayError):
    """A log cannot be copied, or its copy differs; the message names the event."""


class EnrolmentError(GatewayError):
    """A certificate cannot be issued, found or revoked."""


class StateError(GatewayError):
    """The state directory cannot be used: corrupt, locked, not writable, or from a newer version."""


class SettingsError(GatewayError):
    """The settings cannot be used; the message holds one line for each error."""
