"""Bugs for the stand-in server, each of which a client of it must notice: they show what a suite of tests can find."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.support.eventstoredb import reads, subscriptions
from tests.support.eventstoredb.log import EventLog
from tests.support.eventstoredb.records import Answer, Committed, Proposed, Record, WrongExpectedVersion

Bug = Callable[[pytest.MonkeyPatch], None]

OURS: Final = "device-"
"""The bugs spare the server's own streams, and the one that names the log: the client cannot even begin otherwise."""


def _of_check(change: Callable[[Answer | None], Answer | None]) -> Bug:
    """Whether an append is refused comes out otherwise."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        check = EventLog._check

        def _check(self: EventLog, name: str, *others: Any) -> Answer | None:
            found = check(self, name, *others)
            return change(found) if OURS in name else found

        patch.setattr(EventLog, "_check", _check)

    return plant


def _of_append(change: Callable[[Sequence[Proposed]], Sequence[Proposed]]) -> Bug:
    """Other events are written than were sent."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        append = EventLog.append

        def _append(self: EventLog, name: str, expected: int, events: Sequence[Proposed], now: int) -> Answer:
            return append(self, name, expected, change(events) if OURS in name else events, now)

        patch.setattr(EventLog, "append", _append)

    return plant


def _of_answer(change: Callable[[Committed], Committed]) -> Bug:
    """What is said of an append is not what happened."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        append = EventLog.append

        def _append(self: EventLog, name: str, *others: Any) -> Answer:
            answer = append(self, name, *others)
            return change(answer) if OURS in name and isinstance(answer, Committed) else answer

        patch.setattr(EventLog, "append", _append)

    return plant


def _of_event(change: Callable[[Any], None]) -> Bug:
    """A reader gets an event otherwise than it was written."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        event = reads.event

        def _event(record: Record, *, as_text: bool) -> Any:
            message = event(record, as_text=as_text)
            if OURS in record.stream:
                change(message.event)
            return message

        patch.setattr(reads, "event", _event)
        patch.setattr(subscriptions, "event", _event)

    return plant


def _of_read(function: str, change: Callable[[list[Record]], list[Record]]) -> Bug:
    """A reader gets other events than there are."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        read = getattr(reads, function)

        def _read(*arguments: Any) -> Iterator[Record]:
            found: list[Record] = list(read(*arguments))
            ours = [record for record in found if OURS in record.stream]
            return iter(change(ours) if ours else found)

        patch.setattr(reads, function, _read)

    return plant


def _of_subscription(drops: Callable[[int], bool]) -> Bug:
    """A subscriber misses the n-th of our events."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        following = subscriptions.AllCursor.next

        def _next(self: subscriptions.AllCursor) -> subscriptions.Step | None:
            step = following(self)
            while isinstance(step, Record) and OURS in step.stream:
                self.told = getattr(self, "told", -1) + 1  # type: ignore[attr-defined]
                if not drops(self.told):  # type: ignore[attr-defined]
                    break
                step = following(self)
            return step

        patch.setattr(subscriptions.AllCursor, "next", _next)

    return plant


def _plant_forgetful(patch: pytest.MonkeyPatch) -> None:
    """An append is confirmed, and not there."""
    write = EventLog._write

    def _write(self: EventLog, name: str, event: Proposed, now: int) -> Record:
        record = write(self, name, event, now)
        if OURS in name and record.revision:
            self.records.remove(record)
            self._streams[name].remove(record)
        return record

    patch.setattr(EventLog, "_write", _write)


def _plant_no_repeats(patch: pytest.MonkeyPatch) -> None:
    """The same append again is a conflict."""
    patch.setattr(EventLog, "_check_stored", lambda self, name, *_: WrongExpectedVersion(self.current(name)))


def _plant_repeats_by_first_id(patch: pytest.MonkeyPatch) -> None:
    """An append counts as known already if its first event is."""
    check = EventLog._check_stored

    def _check(self: EventLog, name: str, expected: int, ids: Sequence[Any], now: int) -> Answer | None:
        return check(self, name, expected, ids[:1], now)

    patch.setattr(EventLog, "_check_stored", _check)


def _altered(**fields: Any) -> Callable[[Sequence[Proposed]], Sequence[Proposed]]:
    return lambda events: [event._replace(**fields) for event in events]


def _shift(name: str) -> Callable[[Any], None]:
    def change(event: Any) -> None:
        setattr(event.event, name, getattr(event.event, name) + 1)

    return change


BUGS: Final[dict[str, Bug]] = {
    "expected revisions are not checked": _of_check(lambda _found: None),
    "every append is a conflict": _of_check(lambda _found: WrongExpectedVersion(7)),
    "the first id makes an append known": _plant_repeats_by_first_id,
    "only the first event is written": _of_append(lambda events: events[:1]),
    "events are written in another order": _of_append(lambda events: events[::-1]),
    "an event is written twice": _of_append(lambda events: [*events, *events[-1:]]),
    "what is confirmed is not there": _plant_forgetful,
    "data are lost": _of_append(_altered(data=b"{}")),
    "metadata are lost": _of_append(_altered(metadata=b"{}")),
    "types are lost": _of_append(_altered(type="Event")),
    "ids are lost": _of_append(lambda events: [event._replace(id=uuid4()) for event in events]),
    "an append is told another position": _of_answer(lambda answer: replace(answer, position=answer.position + 1)),
    "events are told another revision": _of_event(_shift("stream_revision")),
    "streams lose their last event": _of_read("_stream", lambda records: records[:-1]),
    "streams begin too late": _of_read("_stream", lambda records: records[1:]),
    "streams are read in another order": _of_read("_stream", lambda records: records[::-1]),
    "the log loses its last event": _of_read("_all", lambda records: records[:-1]),
    "the log is read in another order": _of_read("_all", lambda records: records[::-1]),
    "a subscriber misses the first event": _of_subscription(lambda number: number == 0),
    "a subscriber misses an event now and then": _of_subscription(lambda number: number % 10 == 5),
    "a subscriber gets nothing": _of_subscription(lambda _number: True),
}
"""What goes wrong, in words."""

HEALED: Final[dict[str, Bug]] = {
    "a conflict tells another revision": _of_check(
        lambda found: WrongExpectedVersion(found.current + 1) if isinstance(found, WrongExpectedVersion) else found
    ),
    "the same append again is a conflict": _plant_no_repeats,
}
"""What goes wrong, and is made good by an adapter that looks itself what stands in the stream."""
