"""States that were passed on the way to others: so the way to one nearby is short."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from gateway.messages import RecordedEvent

KEPT: Final = 64
"""States, of all devices together. Those of one device share most of what they hold."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A device as of one of its events.

    Attributes:
        recorded_at: of that event, UTC.
        latest: the latest time of that event and all before it: clocks may be set back.
        event_id: of that event, by which the stream is recognised.
    """

    revision: int
    recorded_at: datetime
    latest: datetime
    event_id: UUID
    state: Any

    @classmethod
    def by(cls, event: RecordedEvent, state: object, before: "Passed | None") -> "Passed":
        """The device after this event, which follows what was before."""
        latest = event.recorded_at if before is None else max(event.recorded_at, before.latest)
        return cls(event.revision, event.recorded_at, latest, event.id, state)

    def is_before(self, moment: int | datetime) -> bool:
        """Whether no event up to here is after this moment: a revision, or a time."""
        return self.latest <= moment if isinstance(moment, datetime) else self.revision <= moment


class PassedStates:
    """The most recently used ones."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], Passed] = OrderedDict()

    def nearest(self, stream: str, moment: int | datetime) -> Passed | None:
        """The last one of this stream that is not after a moment."""
        known = [one for (name, _), one in self._kept.items() if name == stream and one.is_before(moment)]
        found = max(known, key=lambda one: one.revision, default=None)
        if found is not None:
            self._kept.move_to_end((stream, found.revision))
        return found

    def keep(self, stream: str, passed: Passed) -> None:
        """Remember one."""
        self._kept[stream, passed.revision] = passed
        self._kept.move_to_end((stream, passed.revision))
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def forget(self, stream: str) -> None:
        """They are of another log."""
        for key in [key for key in self._kept if key[0] == stream]:
            del self._kept[key]
