"""A stretch of line between a client and a server on loopback, in which things go wrong when a test says so.

As a process of its own (``python -m tests.support.tcp_proxy --target HOST:PORT``) it says on one line where it
listens, obeys one JSON object a line, each answered with the counts on a line, and ends when its input does.
"""

import argparse
import asyncio
import json
import math
import random
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from tests.support.tcp_line import Connection, Direction, Faults

LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Counts:
    """What the proxy has seen: connections open now and accepted so far, bytes passed on in each direction."""

    connections: int
    accepted: int
    to_server: int
    to_client: int


class TcpProxy:
    """Passes on what comes, until it is told otherwise; faults add up until :meth:`heal`.

    What holds for a connection holds for those that stand and those to come.

    Attributes:
        port: that it listens on, on 127.0.0.1.
        accepted: connections so far.
    """

    def __init__(self, target: int, *, host: str = LOOPBACK, seed: int = 0) -> None:
        """Lead to a server; listen to nobody yet.

        Args:
            target: port of the server.
            host: address of the server.
            seed: of the numbers that :meth:`reset_after` draws.
        """
        self.port = 0
        self.accepted = 0
        self._target = (host, target)
        self._random = random.Random(seed)
        self._faults = Faults()
        self._changed = asyncio.Event()
        self._passed = dict.fromkeys(Direction, 0)
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._listener: socket.socket | None = None

    async def __aenter__(self) -> Self:
        # bound for as long as the proxy lives and never listening: while it refuses, nobody else is given the port
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((LOOPBACK, 0))
        self.port = self._reserved.getsockname()[1]
        self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.refuse()
        await self.reset()
        self._reserved.close()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    @property
    def counts(self) -> Counts:
        """What it has seen so far."""
        return Counts(self.connections, self.accepted, **{str(way): size for way, size in self._passed.items()})

    def heal(self) -> None:
        """Pass everything on again, first what was kept back; directions that were ended stay so."""
        for connection in self._connections.values():
            connection.allowance = math.inf
        self._change(Faults())
        self._listen()

    def refuse(self) -> None:
        """Refuse new connections; those that stand go on."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def reset(self) -> None:
        """Reset every connection now, at both ends; new ones are welcome."""
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def black_hole(self, *directions: Direction) -> None:
        """Read nothing and tell nothing, not even an end, in these directions, by default in both."""
        self._change(replace(self._faults, held=frozenset(directions or Direction)))

    def half_close(self, direction: Direction) -> None:
        """End one direction: its receiver sees an orderly end, its sender nothing."""
        for connection in self._connections.values():
            connection.end(direction)
        self._change(replace(self._faults, ended=self._faults.ended | {direction}))

    def slow(self, *, latency: float = 0.0, bytes_per_second: float = math.inf) -> None:
        """Delay every chunk by so many seconds, and let so much through, on each connection and in each direction."""
        self._change(replace(self._faults, latency=latency, bytes_per_second=bytes_per_second))

    def reset_after(self, least: int, most: int) -> None:
        """Reset each connection after so many more bytes (1 at least) in both directions together, drawn for each."""
        self._change(replace(self._faults, reset_after=(least, most)))
        for connection in self._connections.values():
            connection.allowance = self._draw()

    def _change(self, faults: Faults) -> None:
        self._faults = faults
        self._changed.set()
        self._changed = asyncio.Event()

    def _draw(self) -> float:
        return math.inf if self._faults.reset_after is None else self._random.randint(*self._faults.reset_after)

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server((LOOPBACK, self.port))
            self._listener.settimeout(0)
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):  # it may have gone already
            client, _ = listener.accept()
            self.accepted += 1
            connection = Connection(client, self._draw())
            task = asyncio.create_task(self._carry(connection))
            self._connections[task] = connection
            task.add_done_callback(self._close)  # not in the task, which may be cancelled before it begins

    def _close(self, task: asyncio.Task[None]) -> None:
        self._connections.pop(task).close()

    async def _carry(self, connection: Connection) -> None:
        try:
            await self._open(Direction.TO_SERVER)
            try:
                await asyncio.get_running_loop().sock_connect(connection.server, self._target)
            except OSError:
                await self._open(Direction.TO_CLIENT)
                raise
            async with asyncio.TaskGroup() as group:
                for direction in Direction:
                    connection.pumps[direction] = group.create_task(self._pump(connection, direction))
                for direction in self._faults.ended:
                    connection.end(direction)
            connection.finish()
        except* OSError:
            pass  # closing the connection now resets both ends

    async def _pump(self, connection: Connection, direction: Direction) -> None:
        source, data = connection.source(direction), b"none yet"
        while data:
            await _readable(source)
            while direction in self._faults.held or not connection.allowance:
                await self._changed.wait()  # or for the reset, when the other direction has taken what was left
            data = source.recv(int(min(self._faults.chunk, connection.allowance)))
            connection.allowance -= len(data)
            await self._crossed(direction, len(data))
            await self._deliver(connection, direction, data)
            if not connection.allowance:
                raise ConnectionResetError

    async def _deliver(self, connection: Connection, direction: Direction, data: bytes) -> None:
        """Pass on what came, or the end if nothing did."""
        destination = connection.destination(direction)
        try:
            if data:
                await asyncio.get_running_loop().sock_sendall(destination, data)
            else:
                destination.shutdown(socket.SHUT_WR)
        except OSError:
            # that the receiver is gone is news on the way back, whose pump would now take it for an orderly end
            connection.pumps[direction.opposite].cancel()
            await self._open(direction.opposite)
            raise
        self._passed[direction] += len(data)

    async def _open(self, direction: Direction) -> None:
        while direction in self._faults.held:
            await self._changed.wait()

    async def _crossed(self, direction: Direction, size: int) -> None:
        clock = asyncio.get_running_loop().time
        started = clock()
        while (left := started + self._faults.crossing(size) - clock()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
        await self._open(direction)


async def _readable(source: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(source, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(source)


async def obey(proxy: TcpProxy, line: bytes) -> dict[str, Any]:
    """Do what a line says, such as ``{"slow": {"latency": 0.1}}``; ``{}`` only asks.

    Returns:
        The counts thereafter, or what was not understood as ``error``.
    """
    commands: dict[str, Callable[..., None]] = {
        "heal": proxy.heal,
        "refuse": proxy.refuse,
        "black_hole": lambda directions=(): proxy.black_hole(*map(Direction, directions)),
        "half_close": lambda direction: proxy.half_close(Direction(direction)),
        "slow": proxy.slow,
        "reset_after": proxy.reset_after,
    }
    try:
        for name, details in json.loads(line).items():
            if name == "reset":
                await proxy.reset()
            else:
                commands[name](**details)
    except (KeyError, TypeError, ValueError) as error:
        return {"error": f"{line!r} is not understood: {error!r}"}
    return asdict(proxy.counts)


async def _run(host: str, target: int, seed: int) -> None:
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with TcpProxy(target, host=host, seed=seed) as proxy:
        _say({"port": proxy.port})
        while line := await lines.readline():
            _say(await obey(proxy, line))


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run as a process, until the end of the input."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.tcp_proxy")
    parser.add_argument("--target", required=True, help="HOST:PORT")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    host, _, port = given.target.rpartition(":")
    asyncio.run(_run(host, int(port), given.seed))


if __name__ == "__main__":
    main()
