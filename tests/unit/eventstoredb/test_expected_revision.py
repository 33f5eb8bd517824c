"""What an append may expect of its stream, row by row."""

import pytest

from tests.support.eventstoredb.log import EventLog
from tests.support.eventstoredb.records import ANY, EXISTS, NO_STREAM, Committed, StreamDeleted, WrongExpectedVersion
from tests.support.eventstoredb.writing import append, events


@pytest.fixture
def log() -> EventLog:
    """With a stream of three events, and one that was deleted after three events."""
    log = EventLog()
    append(log, "there", NO_STREAM, events(3))
    append(log, "deleted", NO_STREAM, events(3))
    log.delete("deleted", ANY, now=0)
    append(log, "tombstoned", NO_STREAM, events(3))
    log.tombstone("tombstoned", ANY, now=0)
    append(log, "$$metadata-only", NO_STREAM, events(1))
    return log


@pytest.mark.parametrize(
    ("stream", "expected", "revision"),
    [
        ("new", NO_STREAM, 0),
        ("new", ANY, 0),
        ("there", 2, 3),
        ("there", ANY, 3),
        ("there", EXISTS, 3),
        ("metadata-only", NO_STREAM, 0),
        ("metadata-only", EXISTS, 0),
        ("deleted", NO_STREAM, 3),
        ("deleted", 2, 3),
        ("deleted", ANY, 3),
        ("$$tombstoned", NO_STREAM, 0),
    ],
)
def test_an_append_that_expects_what_is_there_is_committed(
    log: EventLog, stream: str, expected: int, revision: int
) -> None:
    answer = append(log, stream, expected, events(2))

    assert isinstance(answer, Committed)
    assert answer.revision == revision + 1
    assert [record.revision for record in log.stream(stream)[revision:]] == [revision, revision + 1]


@pytest.mark.parametrize(
    ("stream", "expected", "current"),
    [
        ("new", 0, NO_STREAM),
        ("new", EXISTS, NO_STREAM),
        ("there", NO_STREAM, 2),
        ("there", 0, 2),
        ("there", 1, 2),
        ("there", 3, 2),
        ("metadata-only", 0, NO_STREAM),
        ("deleted", 0, 2),
        ("deleted", 3, 2),
    ],
)
def test_an_append_that_expects_something_else_is_refused_with_what_is_there(
    log: EventLog, stream: str, expected: int, current: int
) -> None:
    before = list(log.records)

    assert append(log, stream, expected, events(2)) == WrongExpectedVersion(current)

    assert log.records == before


@pytest.mark.parametrize("expected", [NO_STREAM, ANY, EXISTS, 0, 2, 3])
def test_nothing_can_be_appended_to_a_tombstoned_stream(log: EventLog, expected: int) -> None:
    assert append(log, "tombstoned", expected, events(1)) == StreamDeleted()


def test_a_deleted_stream_does_not_exist_for_an_append_that_wants_it_to(log: EventLog) -> None:
    assert append(log, "deleted", EXISTS, events(1)) == StreamDeleted()


def test_an_empty_append_succeeds_where_the_revision_is_right_and_nobody_sees_it(log: EventLog) -> None:
    end = log.end

    answer = append(log, "there", 2, [])

    assert isinstance(answer, Committed)
    assert (answer.revision, answer.position) == (2, end)
    assert log.current("there") == 2
    assert log.end > end


@pytest.mark.parametrize(("stream", "expected", "current"), [("there", 1, 2), ("deleted", NO_STREAM, 2)])
def test_an_empty_append_behind_the_end_of_the_stream_is_refused(
    log: EventLog, stream: str, expected: int, current: int
) -> None:
    assert append(log, stream, expected, []) == WrongExpectedVersion(current)
