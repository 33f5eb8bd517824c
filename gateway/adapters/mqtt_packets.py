"""The packets of messages and their acknowledgements to bytes and back (MQTT 5, 3.3 and 3.4).

paho has its own way, which takes most of the time that a message costs, and which ends the connection over a U+FEFF in
a property: the standard allows it, brokers pass it on, and so one device could keep the gateway away for ever.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from struct import Struct, pack, unpack_from
from struct import error as StructError  # noqa: N812 - it is a class
from typing import Final

from gateway.messages import MessageProperties
from gateway.records import dataclass

MAX_PROPERTIES: Final = 256
MAX_PROPERTY_BYTES: Final = 256 * 1024
"""Of one packet. A broker passes on millions of user properties, which would take seconds to read."""

PUBLISH: Final = 0x30
PUBACK: Final = 0x40
"""The upper half of a packet's first byte says what it is."""

_SHORTEST: Final = 2
"""Bytes of the shortest packet: its first byte, and the length 0."""

_FREE_OF_CONTENT: Final = 2
"""Bytes of a PUBACK that means success."""

_QOS_1: Final = 0x02
_IDS: Final = 4
"""Bytes of the length of the topic, and of the packet id."""

_PUBACK = Struct("!BBH")
_LENGTH_OF = Struct("!BH")
_MORE: Final = 0x80
"""In a digit of a variable byte integer: another one follows."""

_DIGITS: Final = tuple(bytes((digit,)) for digit in range(_MORE))

_LAST_SHIFT: Final = 21
"""Of the fourth digit, after which none may follow."""


class _Property(IntEnum):
    """What a PUBLISH packet may carry (3.3.2.3)."""

    PAYLOAD_FORMAT = 0x01
    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_IDENTIFIER = 0x0B
    TOPIC_ALIAS = 0x23
    USER_PROPERTY = 0x26


_UNUSED: Final[Mapping[int, int]] = {_Property.PAYLOAD_FORMAT: 1, _Property.TOPIC_ALIAS: 2}
"""Bytes of properties that say nothing to us."""

_UNREAD: Final = MessageProperties(complete=False)


class MalformedPacket(ValueError):
    """The bytes are no packet; nothing after them can be trusted."""


@dataclass(frozen=True, slots=True)
class Publish:
    """A PUBLISH packet.

    Attributes:
        packet_id: 0 with QoS 0, which has none.
    """

    topic: str
    payload: bytes
    qos: int
    packet_id: int
    retain: bool
    redelivered: bool
    properties: MessageProperties


def read_publish(header: int, body: bytes) -> Publish:
    """Read a packet out of its first byte and what follows its length.

    Text that is no UTF-8 is read as well as it goes: the connection must not depend on what a publisher wrote. Nor do
    properties without bounds: where there are too many, none is read.

    Raises:
        MalformedPacket: it is shorter than it says, or has a property that is none of a PUBLISH packet.
    """
    qos = header >> 1 & 3
    try:
        topic, at = _read_text(body, 0)
        packet_id = 0
        if qos:
            (packet_id,) = unpack_from("!H", body, at)
            at += 2
        length, at = _read_length(body, at)
        end = at + length
        if end > len(body):
            raise MalformedPacket("a PUBLISH packet ends too early")
        properties = _UNREAD if length > MAX_PROPERTY_BYTES else _read_properties(body, at, end)
    except (StructError, IndexError) as error:
        raise MalformedPacket("a PUBLISH packet ends too early") from error
    return Publish(topic, body[end:], qos, packet_id, bool(header & 1), bool(header & 8), properties)


class Incoming:
    """Cuts what comes into packets, however it comes."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = _SHORTEST

    def cut(self, data: bytes) -> Sequence[tuple[int, bytes]]:
        """The packets that are whole by now: of each the first byte, and what follows its length.

        Raises:
            MalformedPacket: a length is none.
        """
        self._rest += data
        # a large packet comes in many pieces, and is not to be looked at again with each of them
        if len(self._rest) < self._needed:
            return ()
        buffer, found, at = bytes(self._rest), [], 0
        self._needed = _SHORTEST
        while len(buffer) - at >= _SHORTEST:
            try:
                length, begin = _read_length(buffer, at + 1)
            except IndexError:
                break
            end = begin + length
            if end > len(buffer):
                self._needed = end - at
                break
            found.append((buffer[at], buffer[begin:end]))
            at = end
        del self._rest[:at]
        return found


def pack_publish(topic: bytes, payload: bytes, properties: bytes, packet_id: int, *, retain: bool) -> bytes:
    """A PUBLISH packet with QoS 1; the properties are packed already."""
    return b"".join(
        (
            bytes((PUBLISH | _QOS_1 | retain,)),
            _pack_length(_IDS + len(topic) + len(properties) + len(payload)),
            pack("!H", len(topic)),
            topic,
            pack("!H", packet_id),
            properties,
            payload,
        )
    )


def pack_puback(packet_id: int) -> bytes:
    """A PUBACK packet that means success."""
    return _PUBACK.pack(PUBACK, _FREE_OF_CONTENT, packet_id)


def read_puback(body: bytes) -> tuple[int, int]:
    """Packet id and reason code of a PUBACK packet.

    Raises:
        MalformedPacket: it is shorter than it says.
    """
    if len(body) < _FREE_OF_CONTENT:
        raise MalformedPacket("a PUBACK packet ends too early")
    (packet_id,) = unpack_from("!H", body)
    return packet_id, body[_FREE_OF_CONTENT] if len(body) > _FREE_OF_CONTENT else 0


def pack_properties(properties: MessageProperties) -> bytes:
    """The properties of a PUBLISH packet, with their length before them."""
    packed = _pack_constant(properties.content_type, properties.user)
    if properties.correlation_data is not None:
        packed += _LENGTH_OF.pack(_Property.CORRELATION_DATA, len(properties.correlation_data))
        packed += properties.correlation_data
    if properties.response_topic is not None:
        packed += bytes((_Property.RESPONSE_TOPIC,)) + _pack_text(properties.response_topic)
    if properties.expiry is not None:
        packed += pack("!BI", _Property.MESSAGE_EXPIRY, properties.expiry)
    return _pack_length(len(packed)) + packed


@lru_cache(maxsize=256)
def _pack_constant(content_type: str | None, user: tuple[tuple[str, str], ...]) -> bytes:
    packed = b"" if content_type is None else bytes((_Property.CONTENT_TYPE,)) + _pack_text(content_type)
    for name, value in user:
        packed += bytes((_Property.USER_PROPERTY,)) + _pack_text(name) + _pack_text(value)
    return packed


def _pack_text(text: str) -> bytes:
    encoded = text.encode()
    return pack("!H", len(encoded)) + encoded


def _pack_length(length: int) -> bytes:
    """A variable byte integer (1.5.5)."""
    if length < _MORE:
        return _DIGITS[length]
    packed = bytearray()
    while True:
        length, digit = divmod(length, 128)
        packed.append(digit | _MORE if length else digit)
        if not length:
            return bytes(packed)


def _read_properties(body: bytes, at: int, end: int) -> MessageProperties:
    packet = body[:end]
    response_topic = content_type = correlation_data = expiry = None
    user: list[tuple[str, str]] = []
    for _ in range(MAX_PROPERTIES + 1):
        if at == end:
            break
        kind = packet[at]
        at += 1
        match kind:
            case _Property.USER_PROPERTY:
                name, at = _read_text(packet, at)
                value, at = _read_text(packet, at)
                user.append((name, value))
            case _Property.CORRELATION_DATA:
                correlation_data, at = _read_bytes(packet, at)
            case _Property.RESPONSE_TOPIC:
                response_topic, at = _read_text(packet, at)
            case _Property.CONTENT_TYPE:
                content_type, at = _read_text(packet, at)
            case _Property.MESSAGE_EXPIRY:
                (expiry,) = unpack_from("!I", packet, at)
                at += 4
            case _Property.PAYLOAD_FORMAT | _Property.TOPIC_ALIAS:
                at += _UNUSED[kind]
            case _Property.SUBSCRIPTION_IDENTIFIER:
                _, at = _read_length(packet, at)
            case _:
                raise MalformedPacket(f"0x{kind:02x} is no property of a PUBLISH packet")
    else:
        return _UNREAD
    return MessageProperties(response_topic, correlation_data, content_type, expiry, tuple(user))


def _read_bytes(packet: bytes, at: int) -> tuple[bytes, int]:
    (length,) = unpack_from("!H", packet, at)
    end = at + 2 + length
    if end > len(packet):
        raise MalformedPacket("a PUBLISH packet ends too early")
    return packet[at + 2 : end], end


def _read_text(packet: bytes, at: int) -> tuple[str, int]:
    text, at = _read_bytes(packet, at)
    return text.decode(errors="replace"), at


def _read_length(packet: bytes, at: int) -> tuple[int, int]:
    length = shift = 0
    while True:
        digit = packet[at]
        at += 1
        if shift > _LAST_SHIFT:
            raise MalformedPacket("a length has more than four digits")
        length |= (digit & ~_MORE) << shift
        shift += 7
        if not digit & _MORE:
            return length, at
