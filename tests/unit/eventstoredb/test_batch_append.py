"""The call BatchAppend, as it is on the wire."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.eventstoredb.protos import empty_pb2, grpc, shared_pb2
from tests.support.eventstoredb.raw_client import RawClient, batch, proposed, raw_client
from tests.support.eventstoredb.records import ANY, EXISTS, NO_STREAM
from tests.support.eventstoredb.server import StandIn
from tests.support.eventstoredb_process import stand_in


def details(answer: Any, of: Any) -> Any:
    """The details of an error, which must be of this type."""
    assert answer.WhichOneof("result") == "error", answer
    found = of()
    assert answer.error.details.Unpack(found), answer
    return found


async def test_a_success_names_the_revision_and_the_position_of_the_last_event(server: StandIn, raw: RawClient) -> None:
    answer = await raw.append("device-1", NO_STREAM, proposed(), proposed())

    last = server.log.stream("device-1")[1]
    assert answer.success.current_revision == 1
    assert answer.success.position.commit_position == answer.success.position.prepare_position == last.position
    assert answer.stream_identifier.stream_name == b"device-1"


async def test_an_empty_append_to_a_new_stream_has_no_revision(raw: RawClient) -> None:
    answer = await raw.append("device-1", NO_STREAM)

    assert answer.success.WhichOneof("current_revision_option") == "no_stream"


async def test_a_retry_whose_events_cannot_be_read_has_no_position(raw: RawClient) -> None:
    event = proposed()
    await raw.append("device-1", NO_STREAM, event)
    await raw.delete("device-1", ANY)

    answer = await raw.append("device-1", NO_STREAM, event)

    assert answer.success.WhichOneof("position_option") == "no_position"


@pytest.mark.parametrize(
    ("expected", "echo"),
    [(7, "expected_stream_position"), (EXISTS, "expected_stream_exists"), (0, "expected_stream_position")],
)
async def test_a_wrong_revision_of_a_missing_stream_says_that_there_is_none(
    raw: RawClient, expected: int, echo: str
) -> None:
    answer = await raw.append("missing", expected, proposed())

    wrong = details(answer, shared_pb2.WrongExpectedVersion)
    assert (answer.error.code, answer.error.message) == (6, "WrongExpectedVersion")
    assert wrong.WhichOneof("current_stream_revision_option") == "current_no_stream"
    assert wrong.WhichOneof("expected_stream_position_option") == echo
    if expected >= 0:
        assert wrong.expected_stream_position == expected


@pytest.mark.parametrize(("expected", "echo"), [(NO_STREAM, "expected_no_stream"), (ANY, "expected_any")])
async def test_a_wrong_revision_names_the_one_that_is_there(raw: RawClient, expected: int, echo: str) -> None:
    known = proposed()
    await raw.append("device-1", NO_STREAM, known, proposed())

    answer = await raw.append("device-1", expected, known, proposed())

    wrong = details(answer, shared_pb2.WrongExpectedVersion)
    assert wrong.current_stream_revision == 1
    assert wrong.WhichOneof("expected_stream_position_option") == echo


async def test_a_tombstoned_stream_is_named_in_the_error(raw: RawClient) -> None:
    await raw.tombstone("device-1", NO_STREAM)

    answer = await raw.append("device-1", NO_STREAM, proposed())

    assert details(answer, shared_pb2.StreamDeleted).stream_identifier.stream_name == b"device-1"
    assert answer.error.code == 5


async def test_all_events_of_an_append_are_stored_or_none(server: StandIn, raw: RawClient) -> None:
    before = list(server.log.records)

    answer = await raw.append("device-1", NO_STREAM, proposed(), proposed(type=""))

    details(answer, shared_pb2.BadRequest)
    assert server.log.records == before


async def test_data_metadata_and_type_count_towards_the_size_of_an_append() -> None:
    async with stand_in(max_append_size=100) as server, raw_client(server.port) as raw:
        fits = proposed(type="T" * 10, data=b"d" * 40, metadata=b"m" * 40)
        too_large = proposed(type="T" * 10, data=b"d" * 40, metadata=b"m" * 41)

        refused = await raw.append("device-1", NO_STREAM, too_large)
        assert (await raw.append("device-1", NO_STREAM, fits)).WhichOneof("result") == "success"

        assert details(refused, shared_pb2.MaximumAppendSizeExceeded).maxAppendSize == 100
        assert refused.error.code == 3


async def test_the_events_of_an_append_are_too_large_together() -> None:
    async with stand_in(max_append_size=100) as server, raw_client(server.port) as raw:
        answer = await raw.append("device-1", NO_STREAM, *(proposed(data=b"d" * 30) for _ in range(3)))

        details(answer, shared_pb2.MaximumAppendSizeExceeded)


async def test_an_append_may_have_a_mebibyte(raw: RawClient) -> None:
    size = 1024 * 1024 - 2 * len("Counted")

    answer = await raw.append("device-1", NO_STREAM, proposed(data=b"d" * size))
    refused = await raw.append("device-1", 0, proposed(data=b"d" * (size + 1)))

    assert answer.WhichOneof("result") == "success"
    assert details(refused, shared_pb2.MaximumAppendSizeExceeded).maxAppendSize == 1024 * 1024


async def test_a_message_beyond_16_mebibytes_ends_the_call(raw: RawClient) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw.append("device-1", NO_STREAM, proposed(data=b"d" * (16 * 1024 * 1024)))

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def without(key: str) -> Any:
    event = proposed()
    del event.metadata[key]
    return event


@pytest.mark.parametrize(
    ("event", "complaint"),
    [
        (proposed(type=""), "Empty eventType provided"),
        (proposed(id=UUID(int=0)), "Empty eventId"),
        (without("type"), "'type'"),
        (without("content-type"), "'content-type'"),
    ],
)
async def test_an_event_that_breaks_a_rule_is_a_bad_request(raw: RawClient, event: Any, complaint: str) -> None:
    answer = await raw.append("device-1", NO_STREAM, event)

    assert complaint in details(answer, shared_pb2.BadRequest).message
    assert answer.error.code == 3


async def test_a_stream_needs_a_name(raw: RawClient) -> None:
    details(await raw.append("", NO_STREAM, proposed()), shared_pb2.BadRequest)


async def test_nobody_may_append_to_the_whole_log(raw: RawClient) -> None:
    answer = await raw.append("$all", ANY, proposed())

    details(answer, shared_pb2.AccessDenied)
    assert answer.error.code == 7


@pytest.mark.parametrize("option", ["deadline", "deadline_21_10_0"])
async def test_an_append_whose_time_is_over_writes_nothing(server: StandIn, raw: RawClient, option: str) -> None:
    answer = await raw.append("device-1", NO_STREAM, proposed(), **{option: {"seconds": 0}})

    details(answer, shared_pb2.Timeout)
    assert answer.error.code == 4
    assert server.log.current("device-1") == NO_STREAM


async def test_many_batches_share_a_call_and_each_is_answered_when_it_is_complete(
    server: StandIn, raw: RawClient
) -> None:
    slow, quick = uuid4(), uuid4()
    more = batch("ignored", ANY, proposed(), correlation_id=slow)
    more.ClearField("options")

    answers = await raw.batches(
        batch("slow", NO_STREAM, proposed(), correlation_id=slow, final=False),
        batch("quick", NO_STREAM, proposed(), correlation_id=quick),
        more,
    )

    assert [answer.correlation_id.string for answer in answers] == [str(quick), str(slow)]
    assert [answer.stream_identifier.stream_name for answer in answers] == [b"quick", b"slow"]
    assert server.log.current("slow") == 1


async def test_a_part_of_a_batch_that_never_began_is_passed_over(raw: RawClient) -> None:
    stray = batch("ignored", ANY, proposed())
    stray.ClearField("options")

    answers = await raw.batches(stray, batch("device-1", ANY, proposed()))

    assert [answer.stream_identifier.stream_name for answer in answers] == [b"device-1"]


async def test_an_id_may_come_as_two_halves(server: StandIn, raw: RawClient) -> None:
    event, id = proposed(), uuid4()
    event.id.structured.most_significant_bits = int.from_bytes(id.bytes[:8], signed=True)
    event.id.structured.least_significant_bits = int.from_bytes(id.bytes[8:], signed=True)

    await raw.append("device-1", NO_STREAM, event)

    assert server.log.stream("device-1")[0].id == id


async def test_a_call_that_the_server_cannot_handle_ends_as_an_unhandled_exception(raw: RawClient) -> None:
    request = batch("device-1", NO_STREAM, proposed())
    request.options.stream_identifier.stream_name = b"\xff"

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw.batches(request)

    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.UNKNOWN,
        "Exception was thrown by handler.",
    )


STATUSES = {
    "Timeout": (shared_pb2.Timeout, 4, "Timeout"),
    "Unknown": (shared_pb2.Unknown, 2, "Unknown"),
    "AccessDenied": (shared_pb2.AccessDenied, 7, "Access Denied"),
    "NotReady": (empty_pb2.Empty, 0, "Server Is Not Ready"),
    "Busy": (empty_pb2.Empty, 0, "Server Is Busy"),
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("kind", "stored"), [("batch_status", 0), ("batch_status_after_commit", 1)])
async def test_a_fault_answers_a_batch_before_or_after_the_commit(
    server: StandIn, raw: RawClient, status: str, kind: str, stored: int
) -> None:
    server.faults.set(kind, status=status)

    answer = await raw.append("device-1", NO_STREAM, proposed())

    of, code, message = STATUSES[status]
    details(answer, of)
    assert (answer.error.code, answer.error.message) == (code, message)
    assert len(server.log.stream("device-1")) == stored
