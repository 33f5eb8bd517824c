"""A server behind the fault proxy, and its connections, each seen from both ends."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from tests.support.tcp_line import Direction
from tests.support.tcp_proxy import LOOPBACK, TcpProxy


class End:
    """One end of a connection, the client's or the server's."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(0)
        self._loop = asyncio.get_running_loop()

    async def send(self, content: bytes) -> None:
        await self._loop.sock_sendall(self.socket, content)

    async def fill(self, content: bytes) -> bytes:
        """Send this again and again until nobody takes any more; returns what was taken."""
        taken = 0
        while True:
            try:
                taken += self.socket.send(content[taken % len(content) :])
            except BlockingIOError:
                return (content * (taken // len(content) + 1))[:taken]
            await rounds()

    async def receive(self, size: int) -> bytes:
        """So many bytes, or fewer when the end comes first."""
        received = b""
        while len(received) < size and (more := await self._loop.sock_recv(self.socket, size - len(received))):
            received += more
        return received

    async def receive_until_reset(self) -> int:
        """How many bytes come before the connection is reset."""
        size = 0
        try:
            while more := await self._loop.sock_recv(self.socket, 65_536):
                size += len(more)
        except ConnectionResetError:
            return size
        raise AssertionError("an orderly end")

    async def sees_nothing(self) -> bool:
        """Whether there is neither a byte nor an end."""
        await rounds()
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False

    def end(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Bench:
    """A server behind the proxy, and the connections of a test, each seen from both ends."""

    def __init__(self, proxy: TcpProxy, listener: socket.socket, stack: ExitStack) -> None:
        self.proxy = proxy
        self.listener = listener
        self._stack = stack

    async def dial(self) -> End:
        """A client that is connected to the proxy; the server may not have heard of it."""
        end = End(self._stack.enter_context(socket.socket()))
        await asyncio.get_running_loop().sock_connect(end.socket, (LOOPBACK, self.proxy.port))
        return end

    async def answer(self) -> End:
        """The server's end of the next connection."""
        connection, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        return End(self._stack.enter_context(connection))

    async def connect(self) -> tuple[End, End]:
        """Client and server, joined by the proxy."""
        client, server = await self.dial(), await self.answer()
        await rounds()
        return client, server

    async def along(self, way: Direction) -> tuple[End, End]:
        """The sender and the receiver of a new connection."""
        client, server = await self.connect()
        return (client, server) if way is Direction.TO_SERVER else (server, client)

    async def unheard_of(self) -> bool:
        """Whether no connection waits for the server."""
        await rounds()
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return True
        return False

    async def until_connections(self, count: int) -> None:
        while self.proxy.connections != count:
            await asyncio.sleep(0)


async def rounds() -> None:
    """Let the proxy, which runs in this loop, do all it can do now; what is sent on loopback is there at once."""
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def tcp_bench() -> AsyncIterator[Bench]:
    """Everything in the loop of the test."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((LOOPBACK, 0)))
        listener.settimeout(0)
        async with TcpProxy(listener.getsockname()[1]) as proxy:
            yield Bench(proxy, listener, stack)
