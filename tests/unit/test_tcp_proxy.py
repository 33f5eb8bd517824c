import asyncio
import random
import socket
from collections.abc import AsyncIterator

import pytest

from tests.support.tcp_bench import Bench, rounds, tcp_bench
from tests.support.tcp_line import Direction
from tests.support.tcp_proxy import LOOPBACK, Counts, TcpProxy

pytestmark = pytest.mark.timeout(20)

BOTH_WAYS = pytest.mark.parametrize("way", list(Direction))
LONG = 3_600.0


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with tcp_bench() as bench:
        yield bench


async def test_what_either_end_sends_reaches_the_other_and_is_counted(bench: Bench) -> None:
    client, server = await bench.connect()
    other, _ = await bench.connect()
    await client.send(b"question")
    assert await server.receive(8) == b"question"
    await server.send(b"yes")
    assert await client.receive(3) == b"yes"
    assert bench.proxy.counts == Counts(connections=2, accepted=2, to_server=8, to_client=3)
    other.reset()
    await bench.until_connections(1)
    assert bench.proxy.counts == Counts(connections=1, accepted=2, to_server=8, to_client=3)


async def test_more_than_the_buffers_hold_arrives_unchanged(bench: Bench) -> None:
    client, server = await bench.connect()
    content = random.Random(1).randbytes(20_000_000)
    sending = asyncio.create_task(client.send(content))
    assert await server.receive(len(content)) == content
    await sending


@BOTH_WAYS
async def test_one_end_that_ends_still_hears_the_other(bench: Bench, way: Direction) -> None:
    sender, receiver = await bench.along(way)
    await sender.send(b"last words")
    sender.end()
    assert await receiver.receive(100) == b"last words"
    await receiver.send(b"answer")
    receiver.end()
    assert await sender.receive(100) == b"answer"
    await bench.until_connections(0)


async def test_what_was_sent_before_both_ends_ended_still_arrives(bench: Bench) -> None:
    client, server = await bench.connect()
    content = random.Random(3).randbytes(1_000_000)
    server.end()
    await client.send(content)
    client.end()
    await bench.until_connections(0)
    assert await server.receive(len(content)) == content


@BOTH_WAYS
async def test_a_reset_of_one_end_resets_the_other(bench: Bench, way: Direction) -> None:
    sender, receiver = await bench.along(way)
    sender.reset()
    assert await receiver.receive_until_reset() == 0
    await bench.until_connections(0)


async def test_a_client_of_an_absent_server_is_reset(bench: Bench) -> None:
    bench.listener.close()
    client = await bench.dial()
    assert await client.receive_until_reset() == 0
    await bench.until_connections(0)


async def test_new_connections_are_refused_and_standing_ones_go_on(bench: Bench) -> None:
    client, server = await bench.connect()
    bench.proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await bench.dial()
    assert await bench.unheard_of()
    await client.send(b"still there")
    assert await server.receive(11) == b"still there"
    assert bench.proxy.accepted == 1


async def test_after_a_refusal_connections_are_accepted_on_the_same_port(bench: Bench) -> None:
    port = bench.proxy.port
    bench.proxy.refuse()
    bench.proxy.refuse()
    bench.proxy.heal()
    client, server = await bench.connect()
    await client.send(b"back")
    assert await server.receive(4) == b"back"
    assert bench.proxy.port == port


async def test_nobody_else_gets_the_port_of_a_proxy_that_refuses(bench: Bench) -> None:
    bench.proxy.refuse()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((LOOPBACK, bench.proxy.port))


async def test_both_ends_of_every_connection_are_reset_and_new_ones_are_welcome(bench: Bench) -> None:
    ends = [*await bench.connect(), *await bench.connect()]
    await bench.proxy.reset()
    assert bench.proxy.connections == 0
    assert [await end.receive_until_reset() for end in ends] == [0, 0, 0, 0]
    client, server = await bench.connect()
    await client.send(b"new")
    assert await server.receive(3) == b"new"


async def test_a_connection_is_reset_before_the_proxy_has_begun_with_it(bench: Bench) -> None:
    client = await bench.dial()
    while not bench.proxy.connections:
        await asyncio.sleep(0)
    await bench.proxy.reset()
    assert await client.receive_until_reset() == 0


@BOTH_WAYS
@pytest.mark.parametrize("standing", [True, False])
async def test_a_half_closed_direction_ends_and_the_other_goes_on(bench: Bench, way: Direction, standing: bool) -> None:  # noqa: FBT001 - a parameter of the test
    if standing:
        sender, receiver = await bench.along(way)
        bench.proxy.half_close(way)
    else:
        bench.proxy.half_close(way)
        sender, receiver = await bench.along(way)
    assert await receiver.receive(1) == b""
    await sender.send(b"to nobody")
    await receiver.send(b"the way back")
    assert await sender.receive(12) == b"the way back"
    receiver.end()
    await bench.until_connections(0)


async def test_new_connections_are_whole_again_after_a_half_close(bench: Bench) -> None:
    bench.proxy.half_close(Direction.TO_SERVER)
    bench.proxy.heal()
    client, server = await bench.connect()
    await client.send(b"whole")
    assert await server.receive(5) == b"whole"


@BOTH_WAYS
async def test_what_is_sent_over_a_slow_line_arrives_late(bench: Bench, way: Direction) -> None:
    sender, receiver = await bench.along(way)
    bench.proxy.slow(latency=0.1)
    started = asyncio.get_running_loop().time()
    await sender.send(b"late")
    assert await receiver.receive(4) == b"late"
    assert asyncio.get_running_loop().time() - started >= 0.1


@BOTH_WAYS
async def test_a_narrow_line_lets_so_many_bytes_through_in_a_second(bench: Bench, way: Direction) -> None:
    bench.proxy.slow(bytes_per_second=100_000)
    sender, receiver = await bench.along(way)
    started = asyncio.get_running_loop().time()
    await sender.send(bytes(20_000))
    assert len(await asyncio.get_running_loop().sock_recv(receiver.socket, 20_000)) < 10_000  # it trickles
    assert len(await receiver.receive(15_000)) == 15_000
    assert 0.2 <= asyncio.get_running_loop().time() - started < 10


async def test_what_is_under_way_on_a_slow_line_arrives_as_soon_as_it_is_healed(bench: Bench) -> None:
    client, server = await bench.connect()
    bench.proxy.slow(latency=LONG)
    await client.send(b"under way")
    assert await server.sees_nothing()
    bench.proxy.heal()
    assert await server.receive(9) == b"under way"


@BOTH_WAYS
@pytest.mark.parametrize("standing", [True, False])
async def test_a_connection_is_reset_after_so_many_bytes(bench: Bench, way: Direction, standing: bool) -> None:  # noqa: FBT001 - a parameter of the test
    if standing:
        sender, receiver = await bench.along(way)
        bench.proxy.reset_after(1_000, 1_000)
    else:
        bench.proxy.reset_after(1_000, 1_000)
        sender, receiver = await bench.along(way)
    await sender.send(bytes(999))
    assert await receiver.receive(999) == bytes(999)
    assert await receiver.sees_nothing()
    await sender.send(bytes(500))
    assert await receiver.receive_until_reset() == 1
    assert await sender.receive_until_reset() == 0
    assert bench.proxy.connections == 0


async def test_the_bytes_of_both_directions_count_towards_the_reset(bench: Bench) -> None:
    client, server = await bench.connect()
    bench.proxy.reset_after(10, 10)
    await client.send(b"question")
    assert await server.receive(8) == b"question"
    await server.send(b"answer")
    assert await client.receive_until_reset() == 2
    assert await server.receive_until_reset() == 0


async def test_a_slow_line_delivers_all_that_one_direction_left_to_the_other_before_the_reset(bench: Bench) -> None:
    client, server = await bench.connect()
    bench.proxy.reset_after(8, 8)
    bench.proxy.slow(latency=LONG)
    await client.send(b"question")
    await rounds()
    await server.send(b"answer")
    assert await server.sees_nothing()
    bench.proxy.slow()
    assert await server.receive_until_reset() == 8
    assert await client.receive_until_reset() == 0


async def test_a_connection_is_spared_when_healed_in_time(bench: Bench) -> None:
    client, server = await bench.connect()
    bench.proxy.reset_after(10, 10)
    await client.send(b"question")
    assert await server.receive(8) == b"question"
    bench.proxy.heal()
    await server.send(b"a long answer")
    assert await client.receive(13) == b"a long answer"


async def test_the_bytes_before_a_reset_differ_and_repeat_with_the_seed(bench: Bench) -> None:
    port = bench.listener.getsockname()[1]

    async def sizes(seed: int) -> list[int]:
        async with TcpProxy(port, seed=seed) as bench.proxy:
            bench.proxy.reset_after(1, 5_000)
            sizes = []
            for _ in range(5):
                client, server = await bench.connect()
                await client.send(bytes(5_000))
                sizes.append(await server.receive_until_reset())
            return sizes

    first = await sizes(7)
    assert len(set(first)) > 1
    assert all(1 <= size <= 5_000 for size in first)
    assert await sizes(7) == first
    assert await sizes(8) != first


async def test_a_proxy_that_is_closed_leaves_neither_connections_nor_its_port(bench: Bench) -> None:
    async with TcpProxy(bench.listener.getsockname()[1]) as bench.proxy:
        ends = await bench.connect()
        bench.proxy.black_hole()
    assert [await end.receive_until_reset() for end in ends] == [0, 0]
    with pytest.raises(ConnectionRefusedError):
        await bench.dial()
    with socket.socket() as other:
        other.bind((LOOPBACK, bench.proxy.port))
