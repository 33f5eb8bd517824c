"""Positions in the log, and what metadata hides of a stream."""

from itertools import pairwise
from uuid import uuid4

import pytest

from tests.support.eventstoredb.log import TICKS, EventLog, Existence
from tests.support.eventstoredb.records import (
    ANY,
    DELETED,
    EXISTS,
    NO_STREAM,
    Committed,
    Proposed,
    StreamDeleted,
    WrongExpectedVersion,
)
from tests.support.eventstoredb.writing import append, event, events


@pytest.fixture
def log() -> EventLog:
    log = EventLog()
    append(log, "a", NO_STREAM, events(5))
    return log


def restrict(log: EventLog, stream: str, metadata: bytes, *, is_json: bool = True) -> None:
    append(log, f"$${stream}", ANY, [Proposed(uuid4(), "$metadata", is_json, metadata, b"")])


def visible(log: EventLog, stream: str, now: int = 0) -> list[int]:
    window = log.window(stream, now)
    return [record.revision for record in log.stream(stream) if window.shows(record)]


def test_a_new_log_begins_with_a_system_event_at_position_0() -> None:
    log = EventLog()

    (first,) = log.begin(now=7)

    assert (first.position, first.type, first.stream[:2], first.created) == (0, "$metadata", "$$", 7)
    assert log.begin(now=8) == ()


def test_positions_grow_by_what_the_records_hold(log: EventLog) -> None:
    append(log, "aa", NO_STREAM, [event("T" * 100, data=b"x" * 1000), event()])

    gaps = [later.position - earlier.position for earlier, later in pairwise(log.records)]
    grown = len("aa" + "T" * 100) + 1000 - len("a" + "Counted" + "{}")
    assert gaps[-1] - gaps[0] == grown
    assert min(gaps) > 1


def test_an_append_is_answered_with_the_position_of_its_last_event(log: EventLog) -> None:
    answer = append(log, "a", 4, events(3))

    assert isinstance(answer, Committed)
    assert answer.position == log.stream("a")[7].position


def test_a_log_that_is_read_again_is_the_same(log: EventLog) -> None:
    append(log, "b", NO_STREAM, events(1))
    log.delete("b", 0, now=0)
    append(log, "c", NO_STREAM, [])
    log.tombstone("d", NO_STREAM, now=0)

    again = EventLog(log.records)

    assert (again.records, again.end) == (log.records, log.end)
    for stream in "abcd":
        assert (again.existence(stream), again.current(stream)) == (log.existence(stream), log.current(stream))


def test_a_record_begins_only_at_a_position_that_was_given_out(log: EventLog) -> None:
    record = log.records[2]

    assert log.is_boundary(record.position)
    assert log.is_boundary(log.end)
    assert not log.is_boundary(record.position + 1)
    assert not log.is_boundary(log.end - 1)


@pytest.mark.parametrize(
    ("metadata", "revisions"),
    [
        (b'{"$tb":3}', [3, 4]),
        (b'{"$maxCount":2}', [3, 4]),
        (b'{"$maxCount":2,"$tb":4}', [4]),
        (b'{"$maxCount":3,"$tb":1}', [2, 3, 4]),
        (b'{"$tb":9}', []),
        (b"{}", [0, 1, 2, 3, 4]),
        (b"not json", [0, 1, 2, 3, 4]),
        (b"[]", [0, 1, 2, 3, 4]),
    ],
)
def test_metadata_hides_the_oldest_events(log: EventLog, metadata: bytes, revisions: list[int]) -> None:
    restrict(log, "a", metadata)

    assert visible(log, "a") == revisions


def test_metadata_counts_only_as_json(log: EventLog) -> None:
    restrict(log, "a", b'{"$tb":3}', is_json=False)

    assert visible(log, "a") == [0, 1, 2, 3, 4]


def test_an_event_grows_too_old_to_be_seen() -> None:
    log = EventLog()
    append(log, "a", NO_STREAM, events(1), now=10 * TICKS)
    append(log, "a", 0, events(1), now=12 * TICKS)
    restrict(log, "a", b'{"$maxAge":5}')

    assert visible(log, "a", now=15 * TICKS) == [0, 1]
    assert visible(log, "a", now=16 * TICKS) == [1]


def test_of_metadata_only_the_newest_is_seen(log: EventLog) -> None:
    restrict(log, "a", b'{"$tb":1}')
    restrict(log, "a", b'{"$tb":2}')

    assert visible(log, "$$a") == [1]


def test_a_deleted_stream_comes_back_without_its_old_events(log: EventLog) -> None:
    log.delete("a", 4, now=0)
    assert log.existence("a") is Existence.DELETED

    append(log, "a", ANY, events(2))

    assert log.existence("a") is Existence.PRESENT
    assert visible(log, "a") == [5, 6]


def test_deletion_and_return_are_events_of_the_metadata_stream(log: EventLog) -> None:
    log.delete("a", EXISTS, now=0)
    append(log, "a", ANY, events(1))

    assert [record.data for record in log.stream("$$a")] == [b'{"$tb": 9223372036854775807}', b'{"$tb": 5}']
    assert log.records[-1].stream == "$$a"


@pytest.mark.parametrize("expected", [NO_STREAM, ANY, EXISTS, 0])
def test_a_stream_that_is_missing_cannot_be_deleted_for_now(log: EventLog, expected: int) -> None:
    assert log.delete("missing", expected, now=0) == WrongExpectedVersion(NO_STREAM)


@pytest.mark.parametrize(("expected", "works"), [(NO_STREAM, True), (ANY, True), (EXISTS, False), (0, False)])
def test_a_stream_that_is_missing_can_be_tombstoned(log: EventLog, expected: int, *, works: bool) -> None:
    answer = log.tombstone("missing", expected, now=0)

    assert isinstance(answer, Committed if works else WrongExpectedVersion)
    assert log.existence("missing") is (Existence.TOMBSTONED if works else Existence.MISSING)


@pytest.mark.parametrize("expected", [3, 5])
def test_a_deletion_expects_the_revision_of_the_last_event(log: EventLog, expected: int) -> None:
    assert log.delete("a", expected, now=0) == WrongExpectedVersion(4)
    assert log.tombstone("a", expected, now=0) == WrongExpectedVersion(4)


def test_a_deleted_stream_can_be_deleted_again(log: EventLog) -> None:
    for expected in (4, 4, ANY):
        assert isinstance(log.delete("a", expected, now=0), Committed)


def test_a_tombstoned_stream_is_gone_with_its_metadata(log: EventLog) -> None:
    restrict(log, "a", b"{}")
    log.tombstone("a", 4, now=0)

    assert log.existence("a") is log.existence("$$a") is Existence.TOMBSTONED
    assert (log.records[-1].type, log.records[-1].revision) == ("$streamDeleted", DELETED)
    assert log.delete("a", ANY, now=0) == log.tombstone("a", ANY, now=0) == StreamDeleted()
