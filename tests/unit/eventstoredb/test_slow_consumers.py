"""A live subscriber that takes its events more slowly than they come."""

from uuid import uuid4

import pytest

from tests.support.eventstoredb.following import WANTED, append, following
from tests.support.eventstoredb.protos import grpc
from tests.support.eventstoredb.raw_client import RawClient, proposed, raw_client
from tests.support.eventstoredb.records import ANY
from tests.support.eventstoredb.server import StandIn
from tests.support.eventstoredb_process import stand_in


async def overflow(server: StandIn, raw: RawClient, count: int) -> None:
    """Let more come at once than a live subscription may have waiting."""
    await raw.append("a", ANY, *(proposed("Wanted") for _ in range(count)))
    assert server.log.current("a") == count - 1


@pytest.mark.parametrize(("count", "falls_behind"), [(32, False), (33, True)])
async def test_a_slow_consumer_falls_behind_and_catches_up_again(
    server: StandIn, raw: RawClient, count: int, *, falls_behind: bool
) -> None:
    async with following(raw, wanted=WANTED | {"max": 1000}, at="end") as follower:
        await follower.until("caught_up")
        await overflow(server, raw, count)
        (last,) = await append(raw, "b", "Wanted")
        steps = [await follower.next()]
        while steps[-1] != last:
            steps.append(await follower.next())

    kinds = [kind for kind, _ in steps]
    assert kinds.count("Wanted") == count + 1
    assert kinds[:2] == (["checkpoint", "fell_behind"] if falls_behind else ["Wanted", "Wanted"])


async def test_when_it_falls_behind_it_says_what_was_sent_and_then_what_it_has_caught_up_with(
    server: StandIn, raw: RawClient
) -> None:
    async with following(raw, wanted=WANTED | {"max": 1000}, at="end") as follower:
        await follower.until("caught_up")
        (sent,) = await append(raw, "b", "Wanted")
        assert await follower.next() == sent
        await overflow(server, raw, 40)
        steps = await follower.until("caught_up")

    positions = [record.position for record in server.log.stream("a")]
    assert steps == [
        ("checkpoint", sent[1]),
        ("fell_behind", None),
        *(("Wanted", position) for position in positions),
        ("checkpoint", positions[-1]),
        ("caught_up", None),
    ]


async def test_an_older_server_aborts_a_slow_consumer() -> None:
    async with stand_in(generation="23") as server, raw_client(server.port) as raw, following(raw) as follower:
        await follower.until("caught_up")
        await overflow(server, raw, 33)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await follower.until("never")

    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert caught.value.details() == (
        "Operation timed out: Consumer too slow to handle event while live. Client resubscription required."
    )


async def test_a_consumer_that_reads_nothing_is_too_slow_also_for_single_events() -> None:
    large = proposed("Wanted", data=b"x" * 50_000)
    async with stand_in(generation="23") as server, raw_client(server.port) as raw, following(raw) as follower:
        await follower.until("caught_up")
        async with raw_client(server.port) as writer:
            for _ in range(200):
                large.id.string = str(uuid4())
                await writer.append("a", ANY, large)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await follower.until("never")

    assert caught.value.code() is grpc.StatusCode.ABORTED


async def test_catching_up_with_a_long_log_overflows_nothing() -> None:
    async with stand_in(generation="23") as server, raw_client(server.port) as raw:
        await raw.append("a", ANY, *(proposed() for _ in range(500)))

        async with following(raw, stream="a") as follower:
            assert len(await follower.until("caught_up")) == 502
