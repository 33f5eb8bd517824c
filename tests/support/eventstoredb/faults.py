"""What a test wants to go wrong, how often, and for whom."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final


class Kind(StrEnum):
    """Of a fault; the value is its name on the control port."""

    DELAY_BEFORE_COMMIT = "delay_before_commit"
    DELAY_AFTER_COMMIT = "delay_after_commit"
    UNAVAILABLE_BEFORE_COMMIT = "unavailable_before_commit"
    COMMIT_THEN_UNAVAILABLE = "commit_then_unavailable"
    COMMIT_THEN_HANG = "commit_then_hang"
    COMMIT_THEN_DROP_CONNECTION = "commit_then_drop_connection"
    BATCH_STATUS = "batch_status"
    BATCH_STATUS_AFTER_COMMIT = "batch_status_after_commit"
    NOT_LEADER = "not_leader"
    END_SUBSCRIPTION_OK = "end_subscription_ok"
    ABORT_SUBSCRIPTION = "abort_subscription"
    STALL_SUBSCRIPTION = "stall_subscription"
    DUPLICATE_EVENT = "duplicate_event"
    CLEAR_ID_CACHE = "clear_id_cache"


WRITES: Final = frozenset({"BatchAppend", "Append", "Delete", "Tombstone"})
METHODS: Final = {
    Kind.BATCH_STATUS: frozenset({"BatchAppend"}),
    Kind.BATCH_STATUS_AFTER_COMMIT: frozenset({"BatchAppend"}),
    Kind.END_SUBSCRIPTION_OK: frozenset({"Read"}),
    Kind.ABORT_SUBSCRIPTION: frozenset({"Read"}),
    Kind.STALL_SUBSCRIPTION: frozenset({"Read"}),
    Kind.DUPLICATE_EVENT: frozenset({"Read"}),
}
"""Which calls a fault concerns that names none; all others concern every write."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: what.
        count: how many times it still happens.
        stream: to whom, as a pattern: ``device-*``; ``$all`` for those who read everything.
        method: the name of the call; without one, those in METHODS.
        after: for a subscription: how many events it is sent first.
        seconds: of a delay.
        status: of a batch: Timeout, NotReady, Busy, Unknown or AccessDenied.
        host, port: of the node that is said to be the leader.
        code, text: of the status that a subscription is aborted with, such as UNAVAILABLE.
    """

    kind: Kind
    count: int = 1
    stream: str = "*"
    method: str | None = None
    after: int = 0
    seconds: float = 0.0
    status: str = "Timeout"
    host: str = "127.0.0.1"
    port: int = 0
    code: str = "UNAVAILABLE"
    text: str = ""

    def concerns(self, method: str, stream: str) -> bool:
        """Whether it is meant for this call."""
        methods = METHODS.get(self.kind, WRITES) if self.method is None else {self.method}
        return method in methods and fnmatchcase(stream, self.stream)


class Faults:
    """The faults that are still to come, oldest first."""

    def __init__(self, announce: Callable[[], None]) -> None:
        """Keep the callback, which wakes those who wait for events: a fault may be for them."""
        self.pending: list[Fault] = []
        self._announce = announce

    def set(self, kind: str, **details: Any) -> None:
        """Let something go wrong, in the words of :class:`Fault`."""
        self.pending.append(Fault(Kind(kind), **details))
        self._announce()

    def clear(self) -> None:
        """Nothing goes wrong any more, but for those who hang already."""
        self.pending.clear()

    def take(self, kind: Kind, method: str, stream: str, *, sent: int = 0) -> Fault | None:
        """The oldest fault of this kind that concerns the call, which uses it up once."""
        for index, fault in enumerate(self.pending):
            if fault.kind is kind and sent >= fault.after and fault.concerns(method, stream):
                left = [replace(fault, count=fault.count - 1)] if fault.count > 1 else []
                self.pending[index : index + 1] = left
                return fault
        return None
