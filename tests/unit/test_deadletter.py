from base64 import b64decode
from datetime import UTC, datetime

import orjson

from gateway.deadletter import MAX_PAYLOAD_KEPT, dead_letter
from tests.support.delivery import FakeDelivery

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_dead_letter_keeps_topic_payload_and_reason() -> None:
    letter = orjson.loads(dead_letter(FakeDelivery("a/b", b"hello"), "not-json", "why", NOW))
    assert letter == {
        "reason": "not-json",
        "message": "why",
        "at": "2026-03-01T12:00:00Z",
        "topic": "a/b",
        "size": 5,
        "truncated": False,
        "payload": "hello",
    }


def test_a_long_payload_is_cut_and_a_binary_one_is_encoded() -> None:
    payload = b"\xff" * (MAX_PAYLOAD_KEPT + 1)
    letter = orjson.loads(dead_letter(FakeDelivery("a/b", payload), "not-json", "why", NOW))
    assert letter["truncated"] is True
    assert letter["size"] == len(payload)
    assert b64decode(letter["payload_base64"]) == payload[:MAX_PAYLOAD_KEPT]
