import random
from collections.abc import AsyncIterator

import pytest

from tests.support.tcp_bench import Bench, tcp_bench
from tests.support.tcp_line import Direction
from tests.support.tcp_proxy import Counts

pytestmark = pytest.mark.timeout(20)

BOTH_WAYS = pytest.mark.parametrize("way", list(Direction))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with tcp_bench() as bench:
        yield bench


@BOTH_WAYS
async def test_a_black_hole_in_one_direction_takes_nothing_and_leaves_the_other_alone(
    bench: Bench, way: Direction
) -> None:
    sender, receiver = await bench.along(way)
    bench.proxy.black_hole(way)
    taken = await sender.fill(random.Random(2).randbytes(1_000_003))
    assert await receiver.sees_nothing()
    await receiver.send(b"do you hear me?")
    assert await sender.receive(15) == b"do you hear me?"
    bench.proxy.heal()
    assert await receiver.receive(len(taken)) == taken


async def test_a_black_hole_in_both_directions_lets_nothing_through(bench: Bench) -> None:
    client, server = await bench.connect()
    bench.proxy.black_hole()
    await client.send(b"question")
    await server.send(b"answer")
    assert await server.sees_nothing()
    assert await client.sees_nothing()
    assert bench.proxy.counts == Counts(connections=1, accepted=1, to_server=0, to_client=0)
    bench.proxy.heal()
    assert await server.receive(8) == b"question"
    assert await client.receive(6) == b"answer"


@BOTH_WAYS
async def test_a_black_hole_keeps_an_orderly_end_back(bench: Bench, way: Direction) -> None:
    sender, receiver = await bench.along(way)
    bench.proxy.black_hole(way)
    sender.end()
    assert await receiver.sees_nothing()
    bench.proxy.heal()
    assert await receiver.receive(1) == b""


@BOTH_WAYS
async def test_a_black_hole_keeps_a_reset_back_even_from_who_sends_to_the_dead_end(
    bench: Bench, way: Direction
) -> None:
    sender, receiver = await bench.along(way)
    bench.proxy.black_hole(way)
    sender.reset()
    for _ in range(3):
        await receiver.send(b"are you there?")
        assert await receiver.sees_nothing()
    bench.proxy.heal()
    assert await receiver.receive_until_reset() == 0


@BOTH_WAYS
async def test_a_black_hole_keeps_a_reset_back_even_from_who_ends(bench: Bench, way: Direction) -> None:
    sender, receiver = await bench.along(way)
    bench.proxy.black_hole(way)
    sender.reset()
    receiver.end()
    assert await receiver.sees_nothing()
    bench.proxy.heal()
    assert await receiver.receive_until_reset() == 0


async def test_a_black_hole_accepts_a_connection_of_which_the_server_hears_nothing(bench: Bench) -> None:
    bench.proxy.black_hole()
    client = await bench.dial()
    await client.send(b"hello")
    assert await bench.unheard_of()
    assert await client.sees_nothing()
    bench.proxy.heal()
    server = await bench.answer()
    assert await server.receive(5) == b"hello"


async def test_a_black_hole_keeps_the_absence_of_the_server_back(bench: Bench) -> None:
    bench.listener.close()
    bench.proxy.black_hole(Direction.TO_CLIENT)
    client = await bench.dial()
    assert await client.sees_nothing()
    bench.proxy.heal()
    assert await client.receive_until_reset() == 0


async def test_what_is_under_way_on_a_slow_line_falls_into_a_black_hole(bench: Bench) -> None:
    client, server = await bench.connect()
    bench.proxy.slow(latency=3_600.0)
    await client.send(b"under way")
    assert await server.sees_nothing()
    bench.proxy.black_hole()
    bench.proxy.slow()
    assert await server.sees_nothing()
    bench.proxy.heal()
    assert await server.receive(9) == b"under way"
