"""What is fuzzed, and what must hold of each input. Knows no fuzzer."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from gateway.adapters.mqtt_packets import (
    Incoming,
    MalformedPacket,
    Publish,
    pack_properties,
    pack_puback,
    pack_publish,
    read_puback,
    read_publish,
)
from gateway.messages import NO_PROPERTIES, MessageProperties
from gateway.queries.parameters import QUERIES
from tests.support.delivery import ROOT, FakeDelivery
from tests.support.hostile import LEVELS, PAYLOADS
from tests.support.hostile import QUERIES as NASTY_QUERIES
from tests.support.hostile_commands import CATALOGUE, take
from tests.support.hostile_queries import code_of_answer

LONGEST: Final = 0.1
"""Seconds of the processor in which the event loop does nothing else. Instrumented, the code is slower than it is."""

QOS_1: Final = 0x32

NAMES: Final = [command.name for decider in CATALOGUE for command in decider.commands]
COMMANDS: Final = [
    *(f"{ROOT}/cmd/{actor}/pump/{name}" for actor in ("alice", "pump") for name in NAMES),
    *(f"{ROOT}/cmd/{level}/pump/report" for level in LEVELS),
]
ASKED: Final = list(QUERIES)
BODIES: Final = {
    "connect": b'{"command_id": "c1", "data": {"firmware": "2.0", "address": "10.0.0.7"}}',
    "report": b'{"properties": {"rpm": 900, "on": true}, "measured_at": "2026-03-01T11:59:00+01:00"}',
    "configure": b'{"command_id": "c2", "expected_revision": 0, "data": {"properties": {"rpm": 900}}}',
    "refuse-configuration": b'{"version": 1, "reason": "too fast"}',
    "raise-alarm": b'{"code": "hot", "severity": "critical", "message": "90 degrees"}',
    "acknowledge-alarm": b'{"code": "hot", "note": "on my way"}',
    "annotate": b'{"name": "Pump", "location": "roof", "labels": {"floor": "7"}}',
    "suspend": b'{"wait_for": "projected", "expires_at": "2026-03-01T13:00:00Z", "data": {"reason": "service"}}',
    "decommission": b'{"dry_run": true, "data": {"reason": "scrapped"}}',
}
"""What is accepted, or would be in some state."""

_RICH: Final = MessageProperties(f"{ROOT}/ack/pump/me", b"1", "application/json", 60, (("correlation_id", "c"),))
_CUT: Final = 7


def commands(content: bytes) -> None:
    """What a broker delivers on a command topic is answered once or buried, harms nobody, and does not take long."""
    with suppress(MalformedPacket):
        read = _read(COMMANDS, content)
        with _at_once():
            take(FakeDelivery(read.topic, read.payload, properties=read.properties))


def queries(content: bytes) -> None:
    """Whatever somebody asks is answered once, and is no fault."""
    with suppress(MalformedPacket):
        read = _read(ASKED, content)
        # nobody shall wait here for what never comes
        if b"_ms" not in read.payload:
            with _at_once():
                code_of_answer("alice", read.topic, read.payload)


def packets(stream: bytes) -> None:
    """Any bytes are packets, or malformed; the same however they are cut."""
    with _at_once(), suppress(MalformedPacket):
        whole = Incoming().cut(stream)
        pieces = Incoming()
        assert [one for at in range(0, len(stream), _CUT) for one in pieces.cut(stream[at : at + _CUT])] == list(whole)
        for header, body in whole:
            with suppress(MalformedPacket):
                read_puback(body) if header & 0xF0 == pack_puback(1)[0] else read_publish(header, body)


@contextmanager
def _at_once() -> Iterator[None]:
    began = time.thread_time()
    yield
    took = time.thread_time() - began
    assert took < LONGEST, f"took {took:.3f} s"


def _read(topics: Sequence[str], content: bytes) -> Publish:
    """The first byte chooses the topic, the others are what follows it in a packet: properties and payload."""
    topic = topics[int.from_bytes(content[:1]) % len(topics)].encode()
    return read_publish(QOS_1, len(topic).to_bytes(2) + topic + b"\0\1" + content[1:])


def _content(topic: int, payload: bytes, properties: MessageProperties = NO_PROPERTIES) -> bytes:
    return bytes((topic,)) + pack_properties(properties) + payload


def _commands() -> Iterator[bytes]:
    for number in range(len(COMMANDS)):
        yield _content(number, b"{}")
    for number in range(len(NAMES)):
        for payload in PAYLOADS.values():
            yield _content(number, payload, _RICH)
        yield _content(number, BODIES.get(NAMES[number], b"{}"))
        yield _content(number + len(NAMES), BODIES.get(NAMES[number], b"{}"), _RICH)


def _queries() -> Iterator[bytes]:
    for name, payload in NASTY_QUERIES.values():
        yield _content(ASKED.index(name), payload)
    for number in range(len(ASKED)):
        yield _content(number, b'{"device": "pump", "filter": {"a": {"ge": 1}}}')


def _packets() -> Iterator[bytes]:
    properties = pack_properties(_RICH)
    for level in LEVELS:
        yield pack_publish(level.encode(), b"{}", properties, 7, retain=False) + pack_puback(7)


SEEDS: Final[Mapping[str, Sequence[bytes]]] = {
    "commands": tuple(_commands()),
    "queries": tuple(_queries()),
    "packets": tuple(_packets()),
}
"""To begin with."""

WORDS: Final = sorted(
    {word for body in (*BODIES.values(), *PAYLOADS.values()) for word in re.findall(rb'"[a-z_-]{1,24}"', body)}
    | {f'"{field}"'.encode() for one in QUERIES.values() for field in one.model_json_schema()["properties"]}
    | {b"null", b"true", b"1e308", b"9223372036854775808", b'"2026-03-01T12:00:00Z"', b'"\\ud800"', b"{}", b"[]", b","}
)
"""To put in: from bytes alone, no name of a field would come about."""
