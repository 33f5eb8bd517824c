"""A broker that does what a test tells it, also what no broker should; it speaks MQTT 5 in bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE: Final = 10.0


class Kind(IntEnum):
    """Of a packet: the upper half of its first byte."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


@dataclass(frozen=True, slots=True)
class Packet:
    """What came from the client."""

    kind: Kind
    flags: int
    body: bytes

    @property
    def packet_id(self) -> int:
        """Of all but CONNECT, PINGREQ and DISCONNECT."""
        at = 2 + int.from_bytes(self.body[:2]) if self.kind == Kind.PUBLISH else 0
        return int.from_bytes(self.body[at : at + 2])


@dataclass(frozen=True, slots=True)
class Published:
    """A PUBLISH packet, read."""

    topic: str
    payload: bytes
    packet_id: int
    properties: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT packet, read; this client always has a will."""

    flags: int
    keepalive: int
    properties: dict[str, Any]
    client_id: str
    will_properties: dict[str, Any]
    will: tuple[str, bytes]


class Peer:
    """One connection, seen from the broker. Every packet is kept, in the order of arrival.

    Attributes:
        packets: all of them so far.
        gone: whether the client has ended the connection.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.packets: list[Packet] = []
        self.gone = False
        self._writer = writer
        self._news = asyncio.Condition()
        self._taken = 0

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Take packets until the client is gone."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                packet = await _read_packet(reader)
                async with self._news:
                    self.packets.append(packet)
                    self._news.notify_all()
        async with self._news:
            self.gone = True
            self._news.notify_all()

    async def next(self, kind: Kind) -> Packet:
        """The next packet, which must be of this kind."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: len(self.packets) > self._taken or self.gone)
        assert len(self.packets) > self._taken, f"the client is gone without a {kind.name}"
        packet = self.packets[self._taken]
        self._taken += 1
        assert packet.kind == kind
        return packet

    async def next_publish(self) -> Published:
        """The next packet, a PUBLISH."""
        return read_publish(await self.next(Kind.PUBLISH))

    async def until_gone(self) -> None:
        """Wait until the client has ended the connection."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: self.gone)

    async def greet(self, *, session: bool = False, **properties: Any) -> Packet:
        """Do what a broker does at the beginning; returns the SUBSCRIBE."""
        await self.next(Kind.CONNECT)
        self.connack(session=session, **properties)
        subscribe = await self.next(Kind.SUBSCRIBE)
        self.suback(subscribe)
        return subscribe

    def connack(self, code: int = 0, *, session: bool = False, **properties: Any) -> None:
        """Take the client, or refuse it."""
        self.send(Kind.CONNACK, bytes([session, code]) + _pack(PacketTypes.CONNACK, properties))

    def suback(self, subscribe: Packet, code: int = 1) -> None:
        """Grant or deny the one subscription."""
        self.send(Kind.SUBACK, subscribe.body[:2] + b"\x00" + bytes([code]))

    def deliver(
        self,
        packet_id: int,
        topic: str,
        payload: bytes = b"",
        *,
        dup: bool = False,
        retain: bool = False,
        **found: Any,
    ) -> None:
        """Send a message; QoS 0 without a packet id."""
        flags = dup << 3 | (packet_id > 0) << 1 | retain
        number = packet_id.to_bytes(2) if packet_id else b""
        self.send(Kind.PUBLISH, _text(topic) + number + _pack(PacketTypes.PUBLISH, found) + payload, flags)

    def puback(self, packet_id: int, code: int = 0) -> None:
        """Confirm or refuse a message."""
        self.send(Kind.PUBACK, packet_id.to_bytes(2) + bytes([code]) + b"\x00")

    def disconnect(self, code: int) -> None:
        """Say good-bye, and close."""
        self.send(Kind.DISCONNECT, bytes([code, 0]))
        self._writer.close()

    def send(self, kind: Kind, body: bytes, flags: int = 0) -> None:
        """Send any packet."""
        self._writer.write(bytes([kind << 4 | flags]) + _length(len(body)) + body)

    def hang_up(self) -> None:
        """Close without a word; what was sent before arrives."""
        self._writer.close()

    def send_raw(self, sent: bytes) -> None:
        """Send what need not be a packet."""
        self._writer.write(sent)

    def reset(self) -> None:
        """End the connection without a word."""
        self._writer.transport.abort()

    def stop_reading(self) -> None:
        """Let everything that the client sends pile up on its side."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]


class ScriptedBroker:
    """Takes connections; the test does the rest.

    Attributes:
        port: on 127.0.0.1.
    """

    def __init__(self) -> None:
        self.port = 0
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._connections: set[asyncio.StreamWriter] = set()

    async def connection(self) -> Peer:
        """The next connection that a client makes."""
        return await asyncio.wait_for(self._peers.get(), PATIENCE)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one connection to its end."""
        peer = Peer(writer)
        self._peers.put_nowait(peer)
        self._connections.add(writer)
        await peer.read(reader)
        writer.close()
        self._connections.discard(writer)

    async def close(self) -> None:
        """End every connection."""
        for writer in self._connections:
            writer.transport.abort()
        while self._connections:
            await asyncio.sleep(0)


@asynccontextmanager
async def scripted_broker() -> AsyncIterator[ScriptedBroker]:
    broker = ScriptedBroker()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        server.close()
        await broker.close()
        await server.wait_closed()


def read_publish(packet: Packet) -> Published:
    topic, at = _read_bytes(packet.body, 0)
    properties, end = _unpack(PacketTypes.PUBLISH, packet.body, at + 2)
    return Published(topic.decode(), packet.body[end:], packet.packet_id, properties)


def read_connect(packet: Packet) -> Connect:
    body = packet.body
    _, at = _read_bytes(body, 0)
    flags, keepalive = body[at + 1], int.from_bytes(body[at + 2 : at + 4])
    properties, at = _unpack(PacketTypes.CONNECT, body, at + 4)
    client_id, at = _read_bytes(body, at)
    will_properties, at = _unpack(PacketTypes.WILLMESSAGE, body, at)
    will_topic, at = _read_bytes(body, at)
    will_payload, at = _read_bytes(body, at)
    return Connect(
        flags, keepalive, properties, client_id.decode(), will_properties, (will_topic.decode(), will_payload)
    )


async def _read_packet(reader: asyncio.StreamReader) -> Packet:
    (first,) = await reader.readexactly(1)
    length = shift = 0
    while True:
        (digit,) = await reader.readexactly(1)
        length |= (digit & 0x7F) << shift
        shift += 7
        if digit < 0x80:
            return Packet(Kind(first >> 4), first & 0xF, await reader.readexactly(length))


def _length(value: int) -> bytes:
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def _text(text: str) -> bytes:
    return len(text.encode()).to_bytes(2) + text.encode()


def _read_bytes(body: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + int.from_bytes(body[at : at + 2])
    return body[at + 2 : end], end


def _pack(kind: int, values: dict[str, Any]) -> bytes:
    properties = Properties(kind)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    packed: bytes = properties.pack()  # type: ignore[no-untyped-call]
    return packed


def _unpack(kind: int, body: bytes, at: int) -> tuple[dict[str, Any], int]:
    properties = Properties(kind)  # type: ignore[no-untyped-call]
    _, length = properties.unpack(body[at:])  # type: ignore[no-untyped-call]
    values = {name: value for name, value in vars(properties).items() if name[0].isupper()}
    return values, at + length
