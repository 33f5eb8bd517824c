"""A technician who connects again when the broker has gone: what was told in between is lost to him."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiomqtt import Client, MqttError, ProtocolVersion

from tests.support.technician import ROOT, Technician

PATIENCE: Final = 1.0
PAUSE: Final = 0.05


class EnduringTechnician(Technician):
    """Every method waits for a connection and tries again until it has done its work."""

    def __init__(self, port: int) -> None:
        super().__init__(_client(port), ProtocolVersion.V5)
        self._port = port
        self._connected = asyncio.Event()

    async def publish(self, topic: str, body: object, **properties: Any) -> None:
        """Publish below the root until a broker has it: it may be there twice then."""
        while True:
            await self._connected.wait()
            with suppress(MqttError):
                await super().publish(topic, body, **properties)
                return
            await asyncio.sleep(PAUSE)

    async def watch(self, pattern: str) -> None:
        """Subscribe to a topic filter below the root, on this connection and all later ones."""
        await self._connected.wait()
        with suppress(MqttError):
            await super().watch(pattern)

    async def listen(self) -> None:
        """Take what comes, over one connection after the other, for ever."""
        while True:
            with suppress(MqttError):
                self._client = _client(self._port)
                async with self._client:
                    for pattern in self._watched:
                        await self._client.subscribe(f"{ROOT}/{pattern}", qos=1)
                    self._connected.set()
                    await super().listen()
            self._connected.clear()
            await asyncio.sleep(PAUSE)
            await self.clear_up()

    async def clear_up(self) -> None:
        """End what aiomqtt leaves behind, for a second, where a socket is closed as soon as it is open."""
        if (task := self._client._misc_task) is not None:
            task.cancel()
            await asyncio.wait([task])


def _client(port: int) -> Client:
    client = Client(
        "127.0.0.1",
        port,
        protocol=ProtocolVersion.V5,
        timeout=PATIENCE,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )
    client.pending_calls_threshold = 1_000
    return client


@asynccontextmanager
async def enduring_technician(port: int) -> AsyncIterator[EnduringTechnician]:
    """A technician at the broker on this loopback port, who sees all acknowledgements while he is connected."""
    one = EnduringTechnician(port)
    listening = asyncio.create_task(one.listen(), name="technician")
    try:
        await one.watch("ack/#")
        yield one
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await one.clear_up()
