import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.tcp_line import Direction
from tests.support.tcp_proxy import LOOPBACK, Counts
from tests.support.tcp_proxy_process import TcpProxyProcess

PATIENCE = 10.0


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.settimeout(PATIENCE)
        yield listener


@pytest.fixture
def proxy(tmp_path: Path, listener: socket.socket) -> Iterator[TcpProxyProcess]:
    with TcpProxyProcess(tmp_path / "proxy", listener.getsockname()[1]) as proxy:
        yield proxy


def dial(proxy: TcpProxyProcess) -> socket.socket:
    return socket.create_connection((LOOPBACK, proxy.port), PATIENCE)


def answer(listener: socket.socket) -> socket.socket:
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE)
    return connection


def until(proxy: TcpProxyProcess, counts: Counts) -> None:
    deadline = time.monotonic() + PATIENCE
    while (seen := proxy.counts()) != counts:
        assert time.monotonic() < deadline, seen


def test_it_passes_on_what_comes_and_counts_it(proxy: TcpProxyProcess, listener: socket.socket) -> None:
    with dial(proxy) as client, answer(listener) as server:
        client.sendall(b"question")
        assert server.recv(100) == b"question"
        server.sendall(b"yes")
        assert client.recv(100) == b"yes"
        until(proxy, Counts(connections=1, accepted=1, to_server=8, to_client=3))
    until(proxy, Counts(connections=0, accepted=1, to_server=8, to_client=3))


def test_it_refuses_until_it_is_healed(proxy: TcpProxyProcess, listener: socket.socket) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        dial(proxy)
    proxy.heal()
    with dial(proxy), answer(listener):
        assert proxy.counts().accepted == 1


def test_it_has_reset_every_connection_when_it_answers(proxy: TcpProxyProcess, listener: socket.socket) -> None:
    with dial(proxy) as client, answer(listener) as server:
        proxy.reset()
        assert proxy.counts().connections == 0
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


def test_it_is_a_black_hole_in_one_direction_or_both(proxy: TcpProxyProcess, listener: socket.socket) -> None:
    with dial(proxy) as client, answer(listener) as server:
        proxy.black_hole(Direction.TO_SERVER)
        client.sendall(b"question")
        server.sendall(b"early")
        assert client.recv(100) == b"early"
        proxy.black_hole()
        server.sendall(b"late")
        assert proxy.counts() == Counts(connections=1, accepted=1, to_server=0, to_client=5)
        proxy.heal()
        assert server.recv(100) == b"question"
        assert client.recv(100) == b"late"


def test_it_ends_one_direction(proxy: TcpProxyProcess, listener: socket.socket) -> None:
    with dial(proxy) as client, answer(listener) as server:
        proxy.half_close(Direction.TO_CLIENT)
        assert client.recv(1) == b""
        client.sendall(b"still there")
        assert server.recv(100) == b"still there"


def test_it_slows_the_line(proxy: TcpProxyProcess, listener: socket.socket) -> None:
    with dial(proxy) as client, answer(listener) as server:
        proxy.slow(latency=0.1)
        started = time.monotonic()
        client.sendall(b"late")
        assert server.recv(100) == b"late"
        assert time.monotonic() - started >= 0.1
        proxy.slow(bytes_per_second=100.0)
        server.sendall(bytes(1_000))
        assert 0 < len(client.recv(1_000)) < 500  # it trickles


def test_it_resets_after_some_bytes(proxy: TcpProxyProcess, listener: socket.socket) -> None:
    proxy.reset_after(4, 4)
    with dial(proxy) as client, answer(listener) as server:
        client.sendall(b"question")
        assert server.recv(100) == b"ques"
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


def test_it_says_what_it_does_not_understand_and_goes_on(proxy: TcpProxyProcess, listener: socket.socket) -> None:
    commands: list[dict[str, Any]] = [
        {"dig": {}},
        {"half_close": {"direction": "sideways"}},
        {"black_hole": {"directions": ["up"]}},
        {"slow": {"speed": 1}},
    ]
    for command in commands:
        with pytest.raises(AssertionError, match="is not understood"):
            proxy._tell(command)
    with dial(proxy) as client, answer(listener) as server:
        client.sendall(b"question")
        assert server.recv(100) == b"question"


def test_it_ends_with_whoever_started_it(proxy: TcpProxyProcess, listener: socket.socket) -> None:
    process = proxy._running
    assert process.stdin is not None
    with dial(proxy) as client, answer(listener) as server:
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


def test_it_complains_when_it_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="invalid int value"):
        TcpProxyProcess(tmp_path, 1, seed="none").start()  # type: ignore[arg-type]
