"""The call Read, for what there is now."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.support.eventstoredb.protos import grpc
from tests.support.eventstoredb.raw_client import RawClient, proposed, raw_client
from tests.support.eventstoredb.records import ANY, NO_STREAM
from tests.support.eventstoredb.server import StandIn
from tests.support.eventstoredb_process import stand_in


@pytest.fixture
async def positions(server: StandIn, raw: RawClient) -> list[int]:
    """Of six events: three pairs, one of each pair in either stream."""
    for _ in range(3):
        await raw.append("a", ANY, proposed("Even"))
        await raw.append("b", ANY, proposed("Odd"))
    return [record.position for record in server.log.records[1:]]


def revisions(answers: list[Any]) -> list[int]:
    return [answer.event.event.stream_revision for answer in answers]


def found(answers: list[Any]) -> list[int]:
    """The positions of events of ours."""
    events = [answer.event.event for answer in answers]
    return [event.commit_position for event in events if not event.metadata["type"].startswith("$")]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/json; charset=utf-8", ""])
async def test_an_event_comes_back_as_it_was_appended(server: StandIn, raw: RawClient, content_type: str) -> None:
    id = uuid4()
    before = datetime.now(UTC)
    await raw.append("Grüße", NO_STREAM, proposed("T", id=id, data=b"{", metadata=b"\xff", content_type=content_type))

    (answer,) = await raw.read(stream="Grüße")

    position = server.log.records[-1].position
    event = answer.event.event
    assert (event.id.string, event.stream_identifier.stream_name.decode(), event.stream_revision) == (
        str(id),
        "Grüße",
        0,
    )
    assert (event.data, event.custom_metadata, event.metadata["type"]) == (b"{", b"\xff", "T")
    assert event.metadata["content-type"] == (
        "application/json" if content_type == "application/json" else "application/octet-stream"
    )
    assert event.commit_position == event.prepare_position == answer.event.commit_position == position
    created = datetime.fromtimestamp(int(event.metadata["created"]) / 10_000_000, UTC)
    assert before - timedelta(milliseconds=1) <= created <= datetime.now(UTC)


async def test_an_id_comes_back_as_two_halves_where_no_text_is_wanted(raw: RawClient) -> None:
    id = uuid4()
    await raw.append("a", NO_STREAM, proposed(id=id))

    (answer,) = await raw.read(stream="a", as_text=False)

    halves = answer.event.event.id.structured
    assert halves.most_significant_bits.to_bytes(8, signed=True) == id.bytes[:8]
    assert halves.least_significant_bits.to_bytes(8, signed=True) == id.bytes[8:]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 1, 2]),
        ({"at": 1}, [1, 2]),
        ({"at": 1, "count": 1}, [1]),
        ({"at": 3}, []),
        ({"at": 99}, []),
        ({"at": "end", "backwards": True}, [2, 1, 0]),
        ({"at": 1, "backwards": True}, [1, 0]),
        ({"at": 99, "backwards": True, "count": 2}, [2, 1]),
        ({"at": "start", "backwards": True}, [0]),
        ({"count": 0}, []),
    ],
)
@pytest.mark.usefixtures("positions")
async def test_a_stream_is_read_from_its_revision_inclusive(
    raw: RawClient, options: dict[str, Any], expected: list[int]
) -> None:
    assert revisions(await raw.read(stream="a", **options)) == expected


@pytest.mark.parametrize("options", [{}, {"at": 5}, {"at": "end", "backwards": True}])
async def test_a_stream_that_is_missing_or_deleted_is_not_found(raw: RawClient, options: dict[str, Any]) -> None:
    await raw.append("deleted", NO_STREAM, proposed())
    await raw.delete("deleted", ANY)

    for stream in ("missing", "deleted"):
        (answer,) = await raw.read(stream=stream, **options)

        assert answer.stream_not_found.stream_identifier.stream_name == stream.encode()


async def test_a_tombstoned_stream_cannot_be_read_and_neither_can_its_metadata(raw: RawClient) -> None:
    await raw.append("$$a", NO_STREAM, proposed("$metadata"))
    await raw.tombstone("a", NO_STREAM)

    for stream in ("a", "$$a"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw.read(stream=stream)

        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert caught.value.details() == f"Event stream '{stream}' is deleted."


async def test_what_metadata_hides_is_not_read_in_either_direction(raw: RawClient) -> None:
    await raw.append("a", NO_STREAM, *(proposed() for _ in range(5)))
    await raw.append("$$a", NO_STREAM, proposed("$metadata", data=b'{"$maxCount":2}'))

    assert revisions(await raw.read(stream="a")) == [3, 4]
    assert revisions(await raw.read(stream="a", count=1)) == [3]
    assert revisions(await raw.read(stream="a", at="end", backwards=True)) == [4, 3]


async def test_the_whole_log_is_read_in_order_with_its_system_events(
    raw: RawClient, server: StandIn, positions: list[int]
) -> None:
    answers = await raw.read()

    assert [answer.event.commit_position for answer in answers] == [0, *positions]
    assert len(server.log.records) == 7
    assert answers[0].event.event.metadata["type"] == "$metadata"


async def test_the_whole_log_is_read_forwards_inclusive_and_backwards_exclusive(
    raw: RawClient, positions: list[int]
) -> None:
    middle = positions[2]

    assert found(await raw.read(at=middle)) == positions[2:]
    assert found(await raw.read(at=middle, count=2)) == positions[2:4]
    assert found(await raw.read(at=middle, backwards=True)) == [positions[1], positions[0]]
    assert found(await raw.read(at="end", backwards=True, count=1)) == [positions[-1]]
    assert found(await raw.read(at="end")) == []


async def test_the_end_of_the_log_and_beyond_are_empty_forwards(
    raw: RawClient, server: StandIn, positions: list[int]
) -> None:
    for position in (server.log.end, server.log.end + 1000):
        assert await raw.read(at=position) == []
        assert found(await raw.read(at=position, backwards=True)) == positions[::-1]


@pytest.mark.parametrize(
    ("wanted", "odd", "even"),
    [
        ({"event_type": {"regex": "^Odd$"}}, True, False),
        ({"event_type": {"regex": "d"}}, True, False),
        ({"event_type": {"regex": "^(?!(Odd$|\\$.+$))"}}, False, True),
        ({"event_type": {"prefix": ["Od", "x"]}}, True, False),
        ({"event_type": {"prefix": ["dd"]}}, False, False),
        ({"stream_identifier": {"regex": "a"}}, False, True),
        ({"stream_identifier": {"prefix": ["b", "a"]}}, True, True),
    ],
)
async def test_a_filter_finds_types_or_streams_by_pattern_or_prefix(
    raw: RawClient, positions: list[int], wanted: dict[str, Any], *, odd: bool, even: bool
) -> None:
    expected = [position for index, position in enumerate(positions) if (index % 2 and odd) or (not index % 2 and even)]

    assert found(await raw.read(wanted=wanted)) == expected
    assert found(await raw.read(wanted=wanted, at="end", backwards=True)) == expected[::-1]


async def test_a_count_is_of_the_events_that_the_filter_finds(raw: RawClient, positions: list[int]) -> None:
    odd = {"event_type": {"regex": "Odd"}}

    assert found(await raw.read(wanted=odd, count=2)) == [positions[1], positions[3]]
    assert found(await raw.read(wanted=odd, at="end", backwards=True, count=1)) == [positions[5]]


async def test_an_empty_append_is_seen_by_nobody_but_its_position_is_one_to_read_from(
    raw: RawClient, positions: list[int]
) -> None:
    empty = (await raw.append("a", 2)).success.position.commit_position
    await raw.append("a", 2, proposed())

    assert len(found(await raw.read())) == len(positions) + 1
    assert len(found(await raw.read(at=empty))) == 1


@pytest.mark.parametrize(
    ("generation", "wanted", "code", "text"),
    [
        ("24", None, grpc.StatusCode.INVALID_ARGUMENT, "Trying to read from an invalid position."),
        ("24", {"event_type": {"regex": "."}}, grpc.StatusCode.UNKNOWN, "FilteredReadAllResult: InvalidPosition"),
        ("23", None, grpc.StatusCode.UNKNOWN, "Unexpected ReadAllResult: Error"),
    ],
)
@pytest.mark.parametrize("subscription", [False, True])
async def test_the_middle_of_a_record_is_no_position_to_read_from(
    generation: str, wanted: Any, code: Any, text: str, *, subscription: bool
) -> None:
    async with stand_in(generation=generation) as server, raw_client(server.port) as raw:
        position = (await raw.append("a", NO_STREAM, proposed())).success.position.commit_position

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw.read(at=position + 1, wanted=wanted, subscription=subscription)

        assert caught.value.code() is code
        assert text in caught.value.details()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"stream": "a", "wanted": {}}, "(Stream, Count, Forwards, Filter)"),
        ({"stream": "a", "wanted": {}, "subscription": True}, "(Stream, Subscription, Forwards, Filter)"),
        ({"subscription": True, "backwards": True}, "(All, Subscription, Backwards, NoFilter)"),
    ],
)
async def test_what_cannot_be_asked_for_together_is_refused(
    raw: RawClient, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw.read(**options)

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == f"The combination of {named} is invalid."
