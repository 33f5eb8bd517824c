import pytest

from benchmarks import wire

PUBLISH = wire.publish(b"a/b", b"\x00\x07", b"hello")


def test_a_packet_is_told_from_the_next_one_wherever_the_reads_end() -> None:
    stream = PUBLISH + wire.puback(b"\x00\x09") + wire.publish(b"c", b"\x01\x02", b"x" * 300)
    whole = list(wire.Reader().packets(stream))
    reader = wire.Reader()
    assert [packet for at in range(len(stream)) for packet in reader.packets(stream[at : at + 1])] == whole
    assert [packet.kind for packet in whole] == [0x30, wire.PUBACK, 0x30]


def test_a_published_message_is_read_as_it_was_written() -> None:
    (packet,) = wire.Reader().packets(PUBLISH)
    assert wire.read_message(packet) == wire.Message(b"a/b", b"\x00\x07", b"hello")


@pytest.mark.parametrize(
    ("size", "encoded"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001")],  # MQTT 3.1.1, table 2.4
)
def test_lengths_are_encoded_as_the_standard_says(size: int, encoded: str) -> None:
    assert wire.remaining_length(size).hex() == encoded


def test_connect_and_subscribe_are_those_of_the_standard() -> None:
    assert wire.connect("me") == b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02me"
    assert wire.subscribe(["a/+"]) == b"\x82\x08\x00\x01\x00\x03a/+\x01"
