"""MQTT 3.1.1 packets, QoS 1 only, as bytes: the little that a load generator and the leanest echo need.

3.1.1, because its messages carry no properties: whoever measures should do as little as possible.
"""

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import pack, unpack_from
from typing import Final

PUBLISH: Final = 0x32
"""First byte of a PUBLISH packet with QoS 1, neither retained nor a copy."""

CONNACK: Final = 0x20
PUBACK: Final = 0x40
SUBACK: Final = 0x90

_KIND: Final = 0xF0
_MORE: Final = 0x80
_NEVER: Final = 0
_REFUSED: Final = 0x80
_READ: Final = 262_144


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet from the broker: the upper half of its first byte, and what follows its length."""

    kind: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """What a PUBLISH packet with QoS 1 carries."""

    topic: bytes
    packet_id: bytes
    payload: bytes


class Reader:
    """Cuts what arrives into packets, wherever the reads end."""

    def __init__(self) -> None:
        self._left = b""

    def packets(self, received: bytes) -> Iterator[Packet]:
        """Every packet that is complete by now."""
        stream = self._left + received
        at, end = 0, len(stream)
        while (found := _body_at(stream, at)) is not None and found[1] <= end:
            begin, after = found
            yield Packet(stream[at] & _KIND, stream[begin:after])
            at = after
        self._left = stream[at:]


def read_message(packet: Packet) -> Message:
    """Topic, packet id and payload of a PUBLISH packet with QoS 1."""
    (size,) = unpack_from("!H", packet.body)
    payload_at = 2 + size + 2
    return Message(packet.body[2 : 2 + size], packet.body[2 + size : payload_at], packet.body[payload_at:])


def connect(client_id: str) -> bytes:
    """A CONNECT packet for a session that ends with the connection."""
    clean_session = 2
    return _packet(0x10, _text(b"MQTT") + bytes((4, clean_session)) + pack("!H", _NEVER) + _text(client_id.encode()))


def subscribe(filters: Sequence[str]) -> bytes:
    """A SUBSCRIBE packet, QoS 1."""
    return _packet(0x82, b"\x00\x01" + b"".join(_text(one.encode()) + b"\x01" for one in filters))


def publish(topic: bytes, packet_id: bytes, payload: bytes) -> bytes:
    """A PUBLISH packet, QoS 1."""
    return _packet(PUBLISH, _text(topic) + packet_id + payload)


def puback(packet_id: bytes) -> bytes:
    """A PUBACK packet."""
    return b"\x40\x02" + packet_id


def remaining_length(size: int) -> bytes:
    """The length that stands behind the first byte of a packet."""
    digits = bytearray()
    while size >= _MORE:
        digits.append(size & ~_MORE & 0xFF | _MORE)
        size >>= 7
    digits.append(size)
    return bytes(digits)


def open_connection(port: int, client_id: str, filters: Sequence[str]) -> tuple[socket.socket, Reader]:
    """A connection to a broker on this machine, with its subscriptions made.

    Raises:
        ConnectionError: the broker refuses the connection or a subscription, or hangs up.
    """
    line = socket.create_connection(("127.0.0.1", port))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = Reader()
    line.sendall(connect(client_id) + (subscribe(filters) if filters else b""))
    awaited = {CONNACK, SUBACK} if filters else {CONNACK}
    while awaited:
        received = line.recv(_READ)
        if not received:
            raise ConnectionError("the broker hangs up")
        for packet in reader.packets(received):
            # CONNACK ends with its return code; SUBACK is a packet id and a code for each filter
            codes = packet.body[1:] if packet.kind == CONNACK else packet.body[2:]
            if packet.kind in awaited and any(code and (code & _REFUSED or packet.kind == CONNACK) for code in codes):
                raise ConnectionError(f"the broker refuses: {packet.body.hex()}")
            awaited.discard(packet.kind)
    return line, reader


def _body_at(stream: bytes, at: int) -> tuple[int, int] | None:
    """Where the body of the packet that begins here begins and ends; ``None`` while its length is incomplete."""
    size = shift = 0
    for begin in range(at + 1, len(stream)):
        digit = stream[begin]
        size |= (digit & 0x7F) << shift
        shift += 7
        if not digit & _MORE:
            return begin + 1, begin + 1 + size
    return None


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + remaining_length(len(body)) + body


def _text(value: bytes) -> bytes:
    return pack("!H", len(value)) + value
