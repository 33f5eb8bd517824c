"""The call Read, for what there is and what will be."""

import pytest

from tests.support.eventstoredb.following import WANTED, append, following
from tests.support.eventstoredb.protos import grpc
from tests.support.eventstoredb.raw_client import RawClient, raw_client
from tests.support.eventstoredb.records import ANY, NO_STREAM
from tests.support.eventstoredb.server import StandIn
from tests.support.eventstoredb_process import stand_in


async def test_the_first_message_is_a_confirmation_and_its_id_is_of_this_subscription(raw: RawClient) -> None:
    calls = [raw.subscribe(), raw.subscribe()]
    confirmations = [(await call.read()).confirmation.subscription_id for call in calls]

    assert all(confirmations)
    assert confirmations[0] != confirmations[1]
    for call in calls:
        call.cancel()


async def test_it_catches_up_says_so_and_is_told_of_what_comes_then(raw: RawClient) -> None:
    old = await append(raw, "a", "Old", "Old")

    async with following(raw) as follower:
        assert await follower.until("caught_up") == [
            ("confirmation", None),
            ("$metadata", 0),
            *old,
            ("caught_up", None),
        ]
        new = await append(raw, "b", "New", "New")
        assert [await follower.next(), await follower.next()] == new


@pytest.mark.parametrize("stream", ["a", None])
async def test_a_position_or_revision_is_exclusive(raw: RawClient, stream: str | None) -> None:
    steps = await append(raw, "a", "First", "Second", "Third")

    async with following(raw, stream=stream, at=1 if stream else steps[1][1]) as follower:
        assert await follower.until("caught_up") == [("confirmation", None), steps[2], ("caught_up", None)]


async def test_position_0_is_the_beginning_and_revision_0_is_not(raw: RawClient) -> None:
    steps = await append(raw, "a", "First", "Second")

    async with following(raw, at=0) as everything, following(raw, stream="a", at=0) as stream:
        assert (await everything.until("caught_up"))[1:-1] == [("$metadata", 0), *steps]
        assert (await stream.until("caught_up"))[1:-1] == steps[1:]


@pytest.mark.parametrize("stream", ["a", None])
async def test_from_the_end_only_what_comes_then_is_told(raw: RawClient, stream: str | None) -> None:
    await append(raw, "a", "Old")

    async with following(raw, stream=stream, at="end") as follower:
        assert await follower.until("caught_up") == [("confirmation", None), ("caught_up", None)]
        (new,) = await append(raw, "a", "New")
        assert await follower.next() == new


async def test_a_stream_that_does_not_exist_yet_is_waited_for(raw: RawClient) -> None:
    async with following(raw, stream="a") as follower:
        await follower.until("caught_up")
        await append(raw, "b", "Other")
        (new,) = await append(raw, "a", "New")
        assert await follower.next() == new


async def test_a_stream_that_was_deleted_goes_on_with_its_later_revisions(raw: RawClient) -> None:
    await append(raw, "a", "Old")
    await raw.delete("a", ANY)

    async with following(raw, stream="a") as follower:
        assert await follower.until("caught_up") == [("confirmation", None), ("caught_up", None)]
        (new,) = await append(raw, "a", "New")
        assert await follower.next() == new


async def test_a_tombstone_ends_the_subscriptions_of_its_stream(raw: RawClient) -> None:
    async with following(raw, stream="a") as early:
        await early.until("caught_up")
        await raw.tombstone("a", NO_STREAM)
        async with following(raw, stream="a") as late:
            for follower in (early, late):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await follower.until("caught_up")

                assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
                assert caught.value.details() == "Event stream 'a' is deleted."


async def test_what_an_empty_append_wrote_is_not_told(raw: RawClient) -> None:
    async with following(raw, at="end") as follower:
        await follower.until("caught_up")
        await raw.append("a", ANY)
        (new,) = await append(raw, "a", "New")
        assert await follower.next() == new


async def test_a_filtered_subscription_has_a_checkpoint_after_every_interval_of_events_considered(
    server: StandIn, raw: RawClient
) -> None:
    await append(raw, "a", "Other", "Wanted", "Other", "Other", "Other", "Other", "Other", "Other")
    positions = [record.position for record in server.log.records]

    async with following(raw, wanted=WANTED) as follower:
        steps = await follower.until("caught_up")

    assert steps == [
        ("confirmation", None),
        ("Wanted", positions[2]),
        ("checkpoint", positions[3]),
        ("checkpoint", positions[7]),
        ("checkpoint", positions[8]),
        ("caught_up", None),
    ]


async def test_checkpoints_go_on_while_it_is_live(raw: RawClient) -> None:
    async with following(raw, wanted=WANTED, at="end") as follower:
        await follower.until("caught_up")
        steps = await append(raw, "a", "Other", "Other", "Wanted", "Other")

        assert [await follower.next(), await follower.next()] == [steps[2], ("checkpoint", steps[3][1])]


async def test_an_older_server_has_no_checkpoint_where_it_has_caught_up() -> None:
    async with stand_in(generation="23") as server, raw_client(server.port) as raw:
        await append(raw, "a", "Wanted")

        async with following(raw, wanted=WANTED) as follower:
            kinds = [kind for kind, _ in await follower.until("caught_up")]

    assert kinds == ["confirmation", "Wanted", "caught_up"]


async def test_without_a_filter_there_are_no_checkpoints(raw: RawClient) -> None:
    await append(raw, "a", *["Other"] * 200)

    async with following(raw) as follower:
        kinds = {kind for kind, _ in await follower.until("caught_up")}

    assert "checkpoint" not in kinds


async def test_a_checkpoint_is_a_position_to_go_on_from(raw: RawClient) -> None:
    await append(raw, "a", "Other", "Wanted", "Other")
    async with following(raw, wanted=WANTED) as follower:
        (*_, (_, position), _) = await follower.until("caught_up")
    (new,) = await append(raw, "a", "Wanted")

    async with following(raw, wanted=WANTED, at=position) as follower:
        assert (await follower.until("caught_up"))[1] == new
