"""A client that publishes what no library lets it: each message on a connection of its own, in bytes."""

import asyncio
from contextlib import suppress
from typing import Final

PATIENCE: Final = 20.0
_CONNECT: Final = b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00"
_PUBACK: Final = 0x40


async def publish_raw(port: int, topic: bytes, payload: bytes, properties: bytes = b"", flags: int = 0b10) -> bool:
    """Publish once; whether the broker takes it and has somebody to give it to.

    Args:
        port: the broker's, on 127.0.0.1.
        topic: need not be UTF-8.
        payload: of any size.
        properties: encoded, without their length.
        flags: lower half of the packet's first byte; it must ask for QoS 1.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = len(topic).to_bytes(2) + topic + b"\x00\x01" + length(len(properties)) + properties + payload
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        async with asyncio.timeout(PATIENCE):
            writer.write(_CONNECT)
            await _read_packet(reader)
            writer.write(bytes((0x30 | flags,)) + length(len(body)) + body)
            kind, answer = await _read_packet(reader)
            writer.close()
            # it ends after the packet id where all is well
            return kind == _PUBACK and answer[2:3] in {b"", b"\x00"}
    writer.close()
    return False


def length(value: int) -> bytes:
    """A variable byte integer."""
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def text(value: bytes) -> bytes:
    """A string or binary value, with its length before it."""
    return len(value).to_bytes(2) + value


async def _read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind, size = await reader.readexactly(2)  # none of those that are awaited is longer
    return kind, await reader.readexactly(size)
