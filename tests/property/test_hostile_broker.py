"""Whatever a broker sends, at whichever moment: the link connects again, and takes what comes then."""

import asyncio
from collections.abc import Iterable
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.support.link_log import running_link
from tests.support.raw_client import length, text
from tests.support.scripted_broker import Kind, Peer, scripted_broker

Moment = Literal["instead of CONNACK", "instead of SUBACK", "later"]
MOMENTS: st.SearchStrategy[Moment] = st.sampled_from(["instead of SUBACK", "later"])
OPTIONS: dict[str, Any] = {"connect_timeout": 0.5, "backoff": (0.001, 0.01), "acknowledging": True}


def packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + length(len(body)) + body


MESSAGE = text(b"cmd/a/b/c") + b"\x00\x01\x00{}"
PACKETS = {
    "nothing that is MQTT": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeros": bytes(64),
    "a length of five digits": b"\x30\xff\xff\xff\xff\x7f",
    "the longest packet, cut off": b"\x30\xff\xff\xff\x7f" + b"x" * 1_000,
    "an empty CONNACK": packet(0x20, b""),
    "a CONNACK with an unknown code": packet(0x20, b"\x00\x77\x00"),
    "a CONNACK whose properties end early": packet(0x20, b"\x00\x00\x05\x21"),
    "a CONNACK with an unknown property": packet(0x20, b"\x00\x00\x02\x7f\x00"),
    "a CONNACK that allows no packet": packet(0x20, b"\x00\x00\x08\x27\x00\x00\x00\x01\x21\x00\x01"),
    "a second CONNACK": packet(0x20, b"\x00\x00\x00"),
    "an empty SUBACK": packet(0x90, b""),
    "a SUBACK for nobody": packet(0x90, b"\x77\x77\x00\x01"),
    "a SUBACK without a code": packet(0x90, b"\x00\x01\x00"),
    "a SUBACK with an unknown code": packet(0x90, b"\x00\x01\x00\x77"),
    "an empty PUBACK": packet(0x40, b""),
    "a PUBACK for nothing": packet(0x40, b"\x77\x77"),
    "a PUBACK with an unknown code": packet(0x40, b"\x00\x01\x77\x00"),
    "a PUBACK whose properties end early": packet(0x40, b"\x00\x01\x00\x7f"),
    "a PUBREC": packet(0x50, b"\x00\x01"),
    "a PUBREL": packet(0x62, b"\x00\x01"),
    "a PUBCOMP": packet(0x70, b"\x00\x01"),
    "an empty PUBREL": packet(0x62, b""),
    "a SUBSCRIBE": packet(0x82, b"\x00\x01\x00\x00\x01a\x01"),
    "a PINGREQ": packet(0xC0, b""),
    "a PINGRESP with a body": packet(0xD0, b"x"),
    "a DISCONNECT without a reason": packet(0xE0, b""),
    "a DISCONNECT with an unknown reason": packet(0xE0, b"\x77\x00"),
    "an AUTH": packet(0xF0, b"\x18\x00"),
    "an empty PUBLISH": packet(0x32, b""),
    "a PUBLISH with QoS 2": packet(0x34, MESSAGE),
    "a PUBLISH with QoS 3": packet(0x36, MESSAGE),
    "a PUBLISH with packet id 0": packet(0x32, text(b"cmd/a/b/c") + b"\x00\x00\x00{}"),
    "the same packet id twice": packet(0x32, MESSAGE) * 2,
    "a PUBLISH to no topic": packet(0x32, text(b"") + b"\x00\x01\x00{}"),
    "a PUBLISH to a filter": packet(0x32, text(b"cmd/#") + b"\x00\x01\x00{}"),
    "a PUBLISH whose properties are longer than it": packet(0x32, text(b"cmd/a/b/c") + b"\x00\x01\xff\xff\x7f"),
    "a PUBLISH with a text that is longer than it": packet(0x32, text(b"cmd/a/b/c") + b"\x00\x01\x03\x08\xff\xff"),
    "a thousand retained messages": packet(0x31, text(b"cmd/a/b/c") + b"\x00{}") * 1_000,
}
"""What no broker should send, in bytes."""

MUTATED = st.builds(
    lambda whole, at, noise: whole[: at % len(whole)] + noise + whole[at % len(whole) :],
    st.sampled_from([one for one in PACKETS.values() if one]),
    st.integers(0, 50),
    st.binary(max_size=4),
)
BYTES = st.binary(min_size=1, max_size=40) | MUTATED


async def _send(peer: Peer, moment: Moment, sent: bytes) -> None:
    await peer.next(Kind.CONNECT)
    if moment != "instead of CONNACK":
        peer.connack()
        subscribe = await peer.next(Kind.SUBSCRIBE)
        if moment == "later":
            peer.suback(subscribe)
    peer.send_raw(sent)
    peer.hang_up()
    await peer.until_gone()


async def _survives(hostilities: Iterable[tuple[Moment, bytes]]) -> None:
    async with scripted_broker() as broker, running_link(broker.port, **OPTIONS) as log:
        for moment, sent in hostilities:
            await _send(await broker.connection(), moment, sent)
        again = await broker.connection()
        await again.greet()
        again.deliver(7, "cmd/still/alive", b"{}")
        while all(one.kind != Kind.PUBACK or one.packet_id != 7 for one in again.packets):
            await asyncio.sleep(0)
        assert log.deliveries[-1].topic == "cmd/still/alive"


def _check(hostilities: Iterable[tuple[Moment, bytes]]) -> None:
    complaints: list[dict[str, object]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        async with asyncio.timeout(60):
            await _survives(hostilities)

    with capture_logs() as lines:
        asyncio.run(run())
    assert complaints == []
    assert [line for line in lines if line["event"] == "library_message"] == []


@settings(max_examples=20)
@given(st.lists(st.tuples(MOMENTS, BYTES), min_size=1, max_size=8))
def test_no_bytes_of_a_broker_end_the_link(hostilities: list[tuple[Moment, bytes]]) -> None:
    _check(hostilities)


@pytest.mark.parametrize("moment", ["instead of SUBACK", "later"])
def test_no_packet_of_a_broker_ends_the_link(moment: Moment) -> None:
    _check([(moment, sent) for sent in PACKETS.values()])


def test_no_first_packet_of_a_broker_ends_the_link() -> None:
    # the client waits for CONNACK to the end of its patience, so only what may be taken for one
    _check([("instead of CONNACK", sent) for name, sent in PACKETS.items() if "CONNACK" in name or "MQTT" in name])
