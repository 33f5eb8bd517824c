"""Our reading and writing of PUBLISH packets agrees with paho's, and survives any bytes."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.adapters.mqtt_packets import (
    MAX_PROPERTIES,
    MAX_PROPERTY_BYTES,
    PUBACK,
    Incoming,
    MalformedPacket,
    Publish,
    pack_properties,
    pack_puback,
    pack_publish,
    read_puback,
    read_publish,
)
from gateway.messages import MessageProperties

NAMES = {
    "response_topic": "ResponseTopic",
    "correlation_data": "CorrelationData",
    "content_type": "ContentType",
    "expiry": "MessageExpiryInterval",
    "user": "UserProperty",
}
# what paho reads: no U+0000, which nobody may send, and no U+FEFF
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), max_size=200)
PROPERTIES = st.builds(
    MessageProperties,
    st.none() | TEXTS,
    st.none() | st.binary(max_size=200),
    st.none() | TEXTS,
    st.none() | st.integers(0, 2**32 - 1),
    st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple),
)
PACKETS = st.builds(
    Publish, TEXTS, st.binary(), st.just(1), st.integers(1, 65_535), st.booleans(), st.booleans(), PROPERTIES
)
IGNORED = st.sampled_from([{}, {"PayloadFormatIndicator": 1}, {"SubscriptionIdentifier": [200, 1]}, {"TopicAlias": 7}])


@given(PROPERTIES)
def test_paho_reads_the_properties_that_we_write(properties: MessageProperties) -> None:
    found = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    packed = pack_properties(properties)
    _, length = found.unpack(packed)  # type: ignore[no-untyped-call]
    assert length == len(packed)
    values: dict[str, Any] = {ours: vars(found).get(theirs) for ours, theirs in NAMES.items()}
    values["user"] = tuple(values["user"] or ())
    assert MessageProperties(**values) == properties


@given(PACKETS, IGNORED)
def test_we_read_the_packets_that_paho_writes(packet: Publish, ignored: dict[str, Any]) -> None:
    written = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    for ours, theirs in NAMES.items():
        if (value := getattr(packet.properties, ours)) not in {None, ()}:
            setattr(written, theirs, list(value) if ours == "user" else value)
    for name, value in ignored.items():
        setattr(written, name, value)
    topic, properties = packet.topic.encode(), written.pack()  # type: ignore[no-untyped-call]
    body = len(topic).to_bytes(2) + topic + packet.packet_id.to_bytes(2) + properties + packet.payload
    assert read_publish(0x32 | packet.redelivered << 3 | packet.retain, body) == packet


@given(PROPERTIES, st.data())
def test_a_packet_that_ends_early_is_malformed(properties: MessageProperties, data: st.DataObject) -> None:
    whole = b"\x00\x03a/b\x00\x07" + pack_properties(properties)
    assert read_publish(0x32, whole).properties == properties
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(MalformedPacket):
        read_publish(0x32, whole[:cut])


@given(st.integers(0, 15), st.binary(max_size=60))
def test_any_bytes_are_a_packet_or_malformed(flags: int, body: bytes) -> None:
    with suppress(MalformedPacket):
        assert isinstance(read_publish(0x30 | flags, body).topic, str)


@pytest.mark.parametrize(("sent", "text"), [("\ufeff".encode(), "\ufeff"), (b"\x00", "\x00"), (b"a\xff", "a\ufffd")])
def test_no_text_of_a_publisher_makes_a_packet_malformed(sent: bytes, text: str) -> None:
    field = len(sent).to_bytes(2) + sent
    properties = b"\x26" + field + field + b"\x08" + field
    packet = read_publish(0x30, field + bytes([len(properties)]) + properties)
    assert (packet.topic, packet.properties) == (text, MessageProperties(response_topic=text, user=((text, text),)))


def test_properties_are_read_up_to_a_number() -> None:
    properties = MessageProperties(user=(("", ""),) * MAX_PROPERTIES)
    assert read_publish(0x30, b"\x00\x01t" + pack_properties(properties)).properties == properties


@pytest.mark.parametrize(
    "user", [(("", ""),) * (MAX_PROPERTIES + 1), (("k" * 65_535, ""),) * (MAX_PROPERTY_BYTES // 65_535)]
)
def test_of_properties_without_bounds_none_is_read(user: tuple[tuple[str, str], ...]) -> None:
    packed = pack_properties(MessageProperties("there", user=user))
    packet = read_publish(0x30, b"\x00\x01t" + packed + b"{}")
    assert (packet.properties, packet.payload) == (MessageProperties(complete=False), b"{}")


def test_a_length_without_an_end_is_malformed() -> None:
    with pytest.raises(MalformedPacket):
        read_publish(0x30, b"\x00\x01t" + b"\xff" * 4 + b"\x01")


@given(st.lists(PACKETS), st.data())
def test_packets_are_whole_however_their_bytes_come(packets: list[Publish], data: st.DataObject) -> None:
    sent = b"".join(
        pack_publish(one.topic.encode(), one.payload, pack_properties(one.properties), one.packet_id, retain=one.retain)
        for one in packets
    )
    incoming, read = Incoming(), []
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        read += [read_publish(header, body) for header, body in incoming.cut(sent[:size])]
        sent = sent[size:]
    assert read == [replace(one, redelivered=False) for one in packets]


@given(st.integers(1, 65_535))
def test_an_acknowledgement_is_read_as_it_was_written(packet_id: int) -> None:
    ((header, body),) = Incoming().cut(pack_puback(packet_id))
    assert (header, read_puback(body)) == (PUBACK, (packet_id, 0))


def test_an_acknowledgement_tells_its_reason_or_is_malformed() -> None:
    assert read_puback(b"\x00\x07\x87\x00") == (7, 0x87)
    with pytest.raises(MalformedPacket):
        read_puback(b"\x00")


def test_a_packet_whose_length_has_no_end_is_malformed() -> None:
    with pytest.raises(MalformedPacket):
        Incoming().cut(b"\x30\xff\xff\xff\xff\x01")
