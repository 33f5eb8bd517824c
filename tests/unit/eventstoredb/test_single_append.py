"""The call Append, as it is on the wire."""

from typing import Any

import pytest

from tests.support.eventstoredb.protos import grpc
from tests.support.eventstoredb.raw_client import RawClient, proposed, raw_client
from tests.support.eventstoredb.records import ANY, EXISTS, NO_STREAM
from tests.support.eventstoredb.server import StandIn
from tests.support.eventstoredb_process import stand_in


async def test_a_success_names_the_revision_and_the_position_of_the_last_event(server: StandIn, raw: RawClient) -> None:
    answer = await raw.append_single("device-1", NO_STREAM, proposed(), proposed())

    assert answer.success.current_revision == 1
    assert answer.success.position.commit_position == server.log.stream("device-1")[1].position


async def test_an_empty_append_to_a_new_stream_has_no_revision(raw: RawClient) -> None:
    answer = await raw.append_single("device-1", NO_STREAM)

    assert answer.success.WhichOneof("current_revision_option") == "no_stream"


async def test_a_retry_whose_events_cannot_be_read_has_no_position(raw: RawClient) -> None:
    event = proposed()
    await raw.append_single("device-1", NO_STREAM, event)
    await raw.delete("device-1", ANY)

    answer = await raw.append_single("device-1", NO_STREAM, event)

    assert answer.success.WhichOneof("position_option") == "no_position"


async def test_a_wrong_revision_is_told_in_the_new_fields_and_in_the_old(raw: RawClient) -> None:
    await raw.append_single("device-1", NO_STREAM, proposed(), proposed())

    wrong = (await raw.append_single("device-1", 7, proposed())).wrong_expected_version

    assert (wrong.current_revision, wrong.current_revision_20_6_0) == (1, 1)
    assert (wrong.expected_revision, wrong.expected_revision_20_6_0) == (7, 7)


async def test_a_missing_stream_is_told_in_the_new_fields_and_in_the_old(raw: RawClient) -> None:
    wrong = (await raw.append_single("missing", EXISTS, proposed())).wrong_expected_version

    assert wrong.WhichOneof("current_revision_option") == "current_no_stream"
    assert wrong.WhichOneof("current_revision_option_20_6_0") == "no_stream_20_6_0"
    assert wrong.WhichOneof("expected_revision_option") == "expected_stream_exists"
    assert wrong.WhichOneof("expected_revision_option_20_6_0") == "stream_exists_20_6_0"


@pytest.mark.parametrize(("expected", "echo"), [(ANY, "expected_any"), (NO_STREAM, "expected_no_stream")])
async def test_what_was_expected_comes_back(raw: RawClient, expected: int, echo: str) -> None:
    known = proposed()
    await raw.append_single("device-1", NO_STREAM, known)

    wrong = (await raw.append_single("device-1", expected, known, proposed())).wrong_expected_version

    assert wrong.WhichOneof("expected_revision_option") == echo


async def refused(raw: RawClient, stream: str, *events: Any) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw.append_single(stream, ANY, *events)
    return caught.value


async def test_an_append_that_is_too_large_ends_the_call() -> None:
    async with stand_in(max_append_size=100) as server, raw_client(server.port) as raw:
        error = await refused(raw, "device-1", proposed(data=b"d" * 100))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "Maximum Append Size of 100 Exceeded."
    trailers = error.trailing_metadata()
    assert (trailers["exception"], trailers["maximum-append-size"]) == ("maximum-append-size-exceeded", "100")


@pytest.mark.parametrize("key", ["type", "content-type"])
async def test_an_event_without_its_metadata_ends_the_call(raw: RawClient, key: str) -> None:
    event = proposed()
    del event.metadata[key]

    error = await refused(raw, "device-1", event)

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.trailing_metadata()["exception"] == "missing-required-metadata-property"


async def test_an_event_without_a_type_and_a_stream_without_a_name_are_bad_requests(raw: RawClient) -> None:
    for error in (await refused(raw, "device-1", proposed(type="")), await refused(raw, "", proposed())):
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_tombstoned_stream_ends_the_call(raw: RawClient) -> None:
    await raw.tombstone("device-1", NO_STREAM)

    error = await refused(raw, "device-1", proposed())

    assert (error.code(), error.details()) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "Event stream 'device-1' is deleted.",
    )
    trailers = error.trailing_metadata()
    assert (trailers["exception"], trailers["stream-name"]) == ("stream-deleted", "device-1")


async def test_nobody_may_append_to_the_whole_log(raw: RawClient) -> None:
    error = await refused(raw, "$all", proposed())

    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
