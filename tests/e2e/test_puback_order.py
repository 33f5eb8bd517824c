"""Append, then acknowledge, then PUBACK: seen from the broker's end of the wire."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.technician import ROOT, Body

PATIENCE = 10.0
A_WHILE = 0.5
PUBLISH, PUBACK = 0x30, 0x40
QOS_1 = 0x02


class WireBroker:
    """Speaks just enough MQTT 5 to see in which order things come; confirms acknowledgements only when told.

    Attributes:
        subscribed: whether the gateway takes commands.
        gone: whether its connection has ended.
        acks: acknowledgements, in the order of arrival.
        pubacks: packet ids of the commands that the gateway lets go, in the order of arrival.
    """

    def __init__(self) -> None:
        self.subscribed = asyncio.Event()
        self.gone = asyncio.Event()
        self.acks: list[Body] = []
        self.pubacks: list[int] = []
        self._news = asyncio.Condition()
        self._unconfirmed: list[int] = []
        self._writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, body = await _packet(reader)
                self._take(kind, body)
                async with self._news:
                    self._news.notify_all()
        writer.close()
        self.gone.set()

    async def until_acks(self, count: int, *, within: float = PATIENCE) -> None:
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: len(self.acks) >= count)

    async def until_pubacks(self, count: int, *, within: float = PATIENCE) -> None:
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: len(self.pubacks) >= count)

    def deliver(self, packet_id: int, device: str) -> None:
        """Hand the gateway a command."""
        topic = f"{ROOT}/cmd/{device}/{device}/register".encode()
        payload = json.dumps({"command_id": f"c-{packet_id}", "data": {"model": "T-1000"}}).encode()
        no_properties = b"\x00"
        body = len(topic).to_bytes(2) + topic + packet_id.to_bytes(2) + no_properties + payload
        self._send(PUBLISH | QOS_1, body)

    def confirm(self) -> None:
        """Confirm the acknowledgements so far."""
        for packet_id in self._unconfirmed:
            self._send(PUBACK, packet_id.to_bytes(2))
        self._unconfirmed.clear()

    def _take(self, kind: int, body: bytes) -> None:
        match kind & 0xF0:
            case 0x10:  # CONNECT
                self._send(0x20, b"\x00\x00\x00")
            case 0x80:  # SUBSCRIBE
                self._send(0x90, body[:2] + b"\x00\x01")
                self.subscribed.set()
            case 0xC0:  # PINGREQ
                self._send(0xD0, b"")
            case 0x40:  # PUBACK
                self.pubacks.append(int.from_bytes(body[:2]))
            case 0x30:  # PUBLISH
                self._take_publish(body)

    def _take_publish(self, body: bytes) -> None:
        length = int.from_bytes(body[:2])
        topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
        packet_id = int.from_bytes(rest[:2])
        if topic.startswith(f"{ROOT}/ack/"):
            properties = rest[2]  # one byte tells their length as long as it is under 128
            self.acks.append(json.loads(rest[3 + properties :]))
            self._unconfirmed.append(packet_id)
        else:
            self._send(PUBACK, packet_id.to_bytes(2))

    def _send(self, kind: int, body: bytes) -> None:
        assert self._writer is not None
        self._writer.write(bytes([kind]) + _varint(len(body)) + body)


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    (kind,) = await reader.readexactly(1)
    length = shift = 0
    while True:
        (digit,) = await reader.readexactly(1)
        length |= (digit & 0x7F) << shift
        shift += 7
        if digit < 0x80:
            return kind, await reader.readexactly(length)


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


@asynccontextmanager
async def _wired(directory: Path) -> AsyncIterator[tuple[WireBroker, GatewayProcess]]:
    """A gateway that takes commands from such a broker."""
    broker = WireBroker()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    gateway = GatewayProcess(directory, server.sockets[0].getsockname()[1])
    try:
        gateway.launch()
        await asyncio.wait_for(broker.subscribed.wait(), PATIENCE)
        yield broker, gateway
        gateway.kill()
        await broker.gone.wait()
    finally:
        gateway.close()
        server.close()
        await server.wait_closed()


async def test_an_acknowledgement_comes_when_the_event_is_in_the_log(tmp_path: Path) -> None:
    async with _wired(tmp_path) as (broker, gateway):
        for number in range(1, 21):
            broker.deliver(number, f"pump-{number}")
            await broker.until_acks(number)
            assert gateway.logged()[-1].id == broker.acks[-1]["events"][0]["id"]


@pytest.mark.embedded
async def test_nothing_is_acknowledged_while_the_log_cannot_be_written(tmp_path: Path) -> None:
    async with _wired(tmp_path) as (broker, gateway):
        with _locked(gateway.database):
            broker.deliver(1, "pump-1")
            with pytest.raises(TimeoutError):
                await broker.until_acks(1, within=A_WHILE)
            assert broker.pubacks == []
        await broker.until_acks(1)
        assert broker.acks[0]["code"] == 201


async def test_the_puback_waits_until_the_broker_has_the_acknowledgement(tmp_path: Path) -> None:
    async with _wired(tmp_path) as (broker, gateway):
        broker.deliver(7, "pump-1")
        broker.deliver(8, "pump-2")
        await broker.until_acks(2)
        with pytest.raises(TimeoutError):
            await broker.until_pubacks(1, within=A_WHILE)
        broker.confirm()
        await broker.until_pubacks(2)
        assert broker.pubacks == [7, 8]
        assert {event.id for event in gateway.logged()} == {ack["events"][0]["id"] for ack in broker.acks}


@contextmanager
def _locked(database: Path) -> Iterator[None]:
    """Keep every writer out."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
