"""What becomes of events that are appended a second time, row by row."""

import pytest

from tests.support.eventstoredb.log import EventLog
from tests.support.eventstoredb.records import (
    ANY,
    EXISTS,
    NO_STREAM,
    AlreadyCommitted,
    Committed,
    Proposed,
    WrongExpectedVersion,
)
from tests.support.eventstoredb.writing import append, event, events

STREAM = "device-pump-7"


@pytest.fixture
def stored() -> list[Proposed]:
    return events(4)


@pytest.fixture
def log(stored: list[Proposed]) -> EventLog:
    log = EventLog()
    append(log, STREAM, NO_STREAM, stored)
    return log


def position(log: EventLog, revision: int) -> int:
    return log.stream(STREAM)[revision].position


def restarted(log: EventLog) -> EventLog:
    return EventLog(log.records)


@pytest.mark.parametrize(("expected", "first", "last"), [(NO_STREAM, 0, 3), (NO_STREAM, 0, 1), (0, 1, 3), (1, 2, 2)])
def test_a_retry_at_its_exact_revision_succeeds_with_the_position_that_it_had(
    log: EventLog, stored: list[Proposed], expected: int, first: int, last: int
) -> None:
    answer = append(log, STREAM, expected, stored[first : last + 1])

    assert answer == AlreadyCommitted(last, position(log, last))
    assert log.current(STREAM) == 3


def test_a_retry_at_its_exact_revision_is_recognised_also_after_a_restart(
    log: EventLog, stored: list[Proposed]
) -> None:
    log = restarted(log)

    assert append(log, STREAM, NO_STREAM, stored) == AlreadyCommitted(3, position(log, 3))


def test_another_first_event_is_no_retry(log: EventLog, stored: list[Proposed]) -> None:
    assert append(log, STREAM, 0, [event(), *stored[2:]]) == WrongExpectedVersion(3)


def test_another_later_event_is_no_retry(log: EventLog, stored: list[Proposed]) -> None:
    assert append(log, STREAM, 0, [stored[1], event()]) == WrongExpectedVersion(3)


def test_a_retry_with_more_events_than_there_are_is_none(log: EventLog, stored: list[Proposed]) -> None:
    before = list(log.records)

    assert append(log, STREAM, 1, [*stored[2:], event()]) == WrongExpectedVersion(3)

    assert log.records == before


def test_events_that_are_appended_at_the_end_of_the_stream_are_not_compared(
    log: EventLog, stored: list[Proposed]
) -> None:
    answer = append(log, STREAM, 3, stored)

    assert isinstance(answer, Committed)
    assert [record.id for record in log.stream(STREAM)] == [event.id for event in stored + stored]


@pytest.mark.parametrize("expected", [ANY, EXISTS])
def test_events_that_are_all_remembered_are_recognised_anywhere_in_their_stream(
    log: EventLog, stored: list[Proposed], expected: int
) -> None:
    answer = append(log, STREAM, expected, [stored[2], stored[0]])

    assert answer == AlreadyCommitted(0, position(log, 0))


@pytest.mark.parametrize("expected", [ANY, EXISTS])
def test_remembered_events_with_a_new_one_among_them_are_refused(
    log: EventLog, stored: list[Proposed], expected: int
) -> None:
    for attempt in ([stored[0], event()], [stored[0], event(), stored[1]]):
        assert append(log, STREAM, expected, attempt) == WrongExpectedVersion(3)


@pytest.mark.parametrize("expected", [ANY, EXISTS])
def test_events_behind_a_new_one_are_appended_again(log: EventLog, stored: list[Proposed], expected: int) -> None:
    assert isinstance(append(log, STREAM, expected, [event(), stored[0]]), Committed)

    assert [record.id for record in log.stream(STREAM)].count(stored[0].id) == 2


def test_a_restart_forgets_what_is_remembered(log: EventLog, stored: list[Proposed]) -> None:
    log = restarted(log)

    assert isinstance(append(log, STREAM, ANY, stored), Committed)

    assert log.current(STREAM) == 7


def test_only_the_newest_ids_are_remembered() -> None:
    log = EventLog(remembered_ids=2)
    first, second, third = events(3)
    append(log, STREAM, NO_STREAM, [first, second, third])

    assert isinstance(append(log, STREAM, ANY, [second]), AlreadyCommitted)
    assert isinstance(append(log, STREAM, ANY, [first]), Committed)


def test_ids_are_compared_within_one_stream_only(log: EventLog, stored: list[Proposed]) -> None:
    for expected in (NO_STREAM, ANY):
        assert isinstance(append(log, f"other-{expected}", expected, stored), Committed)


def test_a_retry_whose_events_can_no_longer_be_read_succeeds_without_a_position(
    log: EventLog, stored: list[Proposed]
) -> None:
    log.delete(STREAM, ANY, now=0)

    assert append(log, STREAM, NO_STREAM, stored) == AlreadyCommitted(3, None)


def test_a_retry_with_another_later_event_does_not_bring_a_deleted_stream_back(
    log: EventLog, stored: list[Proposed]
) -> None:
    log.delete(STREAM, ANY, now=0)

    assert append(log, STREAM, NO_STREAM, [stored[0], event()]) == WrongExpectedVersion(3)


def test_new_events_bring_a_deleted_stream_back_though_it_expects_none(log: EventLog) -> None:
    log.delete(STREAM, ANY, now=0)

    answer = append(log, STREAM, NO_STREAM, events(1))

    assert isinstance(answer, Committed)
    assert answer.revision == 4
