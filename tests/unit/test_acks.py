from dataclasses import replace
from uuid import UUID

import orjson
import pytest

from gateway.acks import acknowledgement
from gateway.batch import refused
from gateway.codes import status_of
from gateway.errors import Invalid, TooFast
from gateway.messages import Answer, EventRef, Outcome
from tests.support.requests import NOW, REQUEST


def body_of(answer: Answer) -> dict[str, object]:
    _, payload, _ = acknowledgement(REQUEST, answer, gateway="gw1", epoch=12)
    body: dict[str, object] = orjson.loads(payload)
    return body


def test_an_acceptance_tells_what_happened_and_where() -> None:
    outcome = Outcome(200, b"", NOW, 4, 1093, (EventRef(UUID(int=1), "ConfigurationRequested", 4),), persisted_at=NOW)
    assert body_of(Answer(outcome)) == {
        "command_id": "c-1",
        "device": "pump-7",
        "command": "configure",
        "actor": "alice",
        "status": "accepted",
        "code": 200,
        "duplicate": False,
        "dedupe": "stored",
        "revision": 4,
        "position": 1093,
        "events": [{"id": str(UUID(int=1)), "type": "ConfigurationRequested", "revision": 4}],
        "received_at": "2026-03-01T12:00:00Z",
        "persisted_at": "2026-03-01T12:00:00Z",
        "gateway": "gw1",
        "epoch": 12,
    }


def test_a_refusal_tells_why_and_which_field() -> None:
    answer = Answer(refused(Invalid("no", field="data.rpm", value=-3), REQUEST, 4), duplicate=True)
    body = body_of(answer)
    assert body["status"] == "rejected"
    assert body["duplicate"] is True
    assert body["error"] == {"type": "invalid-field", "message": "no", "field": "data.rpm", "value": -3}
    assert "retry_after_ms" not in body


def test_a_deferral_tells_when_to_send_again() -> None:
    body = body_of(Answer(refused(TooFast("slow down", retry_after_ms=250), REQUEST)))
    assert (body["status"], body["code"], body["retry_after_ms"]) == ("deferred", 429, 250)


def test_an_answer_belongs_to_the_trace_of_its_command() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced = replace(REQUEST, traceparent=trace)
    _, _, properties = acknowledgement(traced, Answer(Outcome(204, b"", NOW)), gateway="gw1", epoch=1)
    assert properties.user == (("status", "accepted"), ("code", "204"), ("traceparent", trace))


def test_status_code_and_correlation_stand_in_the_properties() -> None:
    topic, _, properties = acknowledgement(REQUEST, Answer(Outcome(204, b"", NOW)), gateway="gw1", epoch=1)
    assert topic == "edge/gw1/ack/alice/pump-7"
    assert properties.correlation_data == b"\xff\0"
    assert properties.user == (("status", "accepted"), ("code", "204"))
    assert properties.content_type == "application/json"


@pytest.mark.parametrize(
    ("status", "codes"),
    [
        ("accepted", (200, 201, 204)),
        ("deferred", (202, 408, 429, 500, 503)),
        ("rejected", (400, 403, 404, 409, 410, 412, 413, 422)),
    ],
)
def test_every_code_of_the_protocol_has_its_status(status: str, codes: tuple[int, ...]) -> None:
    assert {status_of(code) for code in codes} == {status}
