from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access import Access, OperatorRule
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Role
from gateway.errors import UnreadableTopic
from gateway.ids import event_id
from gateway.intake import Intake
from gateway.messages import MessageProperties, ReplyTo, Request, WaitFor
from gateway.topics import Topics
from tests.support.delivery import ROOT, FakeDelivery, command

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
INTAKE = Intake(Topics(ROOT), Catalogue(DECIDERS), Access([OperatorRule(("alice",))]), max_payload=4_096)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def read(delivery: FakeDelivery) -> Request:
    return INTAKE.read_command(delivery, NOW)


def refusal(delivery: FakeDelivery) -> tuple[int, str]:
    request = read(delivery)
    assert request.refusal is not None
    assert request.command is None
    return request.refusal.code, request.refusal.type


def properties(**values: object) -> MessageProperties:
    return MessageProperties(**values)  # type: ignore[arg-type]


def test_a_body_without_envelope_fields_is_the_data() -> None:
    request = read(command("pump-7", "pump-7", "register", {"model": "T-1000"}))
    assert request.refusal is None
    assert request.command is not None
    assert request.command.model_dump()["model"] == "T-1000"
    assert request.role is Role.DEVICE
    assert not request.sender_gave_id
    assert request.reply == ReplyTo(f"{ROOT}/ack/pump-7/pump-7")


def test_an_empty_payload_is_empty_data() -> None:
    assert read(command("pump-7", "pump-7", "disconnect", b"")).refusal is None


def test_the_envelope_says_what_the_command_is_about() -> None:
    request = read(
        command(
            "alice",
            "pump-7",
            "configure",
            {
                "command_id": "c-1",
                "data": {"properties": {"rpm": 900}},
                "issued_at": "2026-03-01T11:59:59Z",
                "expires_at": "2026-03-01T13:00:00+00:00",
                "expected_revision": 4,
                "wait_for": "projected",
                "dry_run": True,
                "correlation_id": "job-9",
                "traceparent": TRACE,
            },
        )
    )
    assert request.refusal is None
    assert request.command_id == "c-1"
    assert request.sender_gave_id
    assert request.key == event_id("alice", "pump-7", "c-1", 0)
    assert request.role is Role.OPERATOR
    assert request.issued_at == NOW - timedelta(seconds=1)
    assert request.expires_at == NOW + timedelta(hours=1)
    assert request.expected_revision == 4
    assert request.wait_for is WaitFor.PROJECTED
    assert request.dry_run
    assert request.correlation_id == "job-9"
    assert request.traceparent == TRACE


def test_mqtt_properties_fill_in_what_the_body_leaves_out() -> None:
    given_properties = properties(
        correlation_data=b"c-1", expiry=60, user=(("correlation_id", "job-9"), ("traceparent", TRACE))
    )
    request = read(command("pump-7", "pump-7", "register", {"model": "T"}, properties=given_properties))
    assert request.command_id == "c-1"
    assert request.expires_at == NOW + timedelta(seconds=60)
    assert request.correlation_id == "job-9"
    assert request.traceparent == TRACE
    assert request.reply.correlation == b"c-1"


def test_the_body_wins_over_the_properties() -> None:
    body = {"command_id": "body", "data": {"model": "T"}, "expires_at": "2026-03-01T12:00:01Z"}
    request = read(
        command("pump-7", "pump-7", "register", body, properties=properties(correlation_data=b"mqtt", expiry=60))
    )
    assert request.command_id == "body"
    assert request.expires_at == NOW + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("correlation", "command_id"),
    [
        (b"c-1", "c-1"),
        (b"\xff\x00\x01", "ff0001"),
        (b"line\nbreak", b"line\nbreak".hex()),
        (b"x" * 65, None),
        (b"\xff" * 33, None),
        (b"", None),
    ],
)
def test_correlation_data_serves_as_command_id_where_it_can(correlation: bytes, command_id: str | None) -> None:
    request = read(command("p", "p", "register", {"model": "T"}, properties=properties(correlation_data=correlation)))
    assert request.sender_gave_id is (command_id is not None)
    assert command_id is None or request.command_id == command_id


def test_commands_without_an_id_never_share_one() -> None:
    first, second = (read(command("p", "p", "register", {"model": "T"})) for _ in range(2))
    assert first.key != second.key


def test_a_foreign_traceparent_property_is_ignored_since_another_tool_may_have_set_it() -> None:
    request = read(command("p", "p", "register", {"model": "T"}, properties=properties(user=(("traceparent", "?"),))))
    assert request.refusal is None
    assert request.traceparent is None


@pytest.mark.parametrize(
    ("payload", "type_"),
    [
        (b"not json", "not-json"),
        (b'{"a": NaN}', "not-json"),
        (b'{"a": 1e999}', "not-json"),
        (b'{"a": "\\ud800"}', "not-json"),
        ('{"a": 1}'.encode("utf-16"), "not-json"),
        (b"\xef\xbb\xbf{}", "not-json"),
        (b"[]", "bad-envelope"),
        (b"7", "bad-envelope"),
        (b'{"command_id": "c", "dato": {}}', "bad-envelope"),
        (b'{"command_id": ""}', "bad-envelope"),
        (b'{"command_id": 7}', "bad-envelope"),
        (b'{"command_id": "a\\u0000"}', "bad-envelope"),
        (b'{"command_id": "c", "data": []}', "bad-envelope"),
        (b'{"issued_at": 1}', "bad-envelope"),
        (b'{"issued_at": "2026-03-01"}', "bad-envelope"),
        (b'{"expires_at": "2026-03-01T12:00:00"}', "bad-envelope"),
        (b'{"wait_for": "ever"}', "bad-envelope"),
        (b'{"dry_run": 1}', "bad-envelope"),
        (b'{"expected_revision": "4"}', "bad-envelope"),
        (b'{"traceparent": "00-zz"}', "bad-envelope"),
        (b'{"a":' + b"[" * 33 + b"]" * 33 + b"}", "too-deep"),
        (b"[" * 2_000 + b"]" * 2_000, "not-json"),
    ],
)
def test_what_is_no_proper_envelope_is_refused_with_400(payload: bytes, type_: str) -> None:
    assert refusal(command("pump-7", "pump-7", "report", payload)) == (400, type_)


def test_thirty_two_levels_are_read() -> None:
    body = b'{"properties": {"a":' + b"[" * 30 + b"]" * 30 + b"}}"
    assert read(command("pump-7", "pump-7", "report", body)).refusal is None


def test_an_oversized_payload_is_refused_unread() -> None:
    assert refusal(command("pump-7", "pump-7", "report", b"[" * 4_097)) == (413, "too-large")


def test_a_refused_payload_still_has_the_id_that_the_correlation_data_gives() -> None:
    request = read(command("p", "p", "report", b"?", properties=properties(correlation_data=b"c-1")))
    assert request.command_id == "c-1"
    assert request.sender_gave_id


@pytest.mark.parametrize(
    ("actor", "name", "expected"),
    [
        ("mallory", "report", (403, "not-permitted")),
        ("mallory", "no-such-command", (403, "not-permitted")),
        ("pump-7", "configure", (403, "not-permitted")),
        ("alice", "report", (403, "not-permitted")),
        ("alice", "no-such-command", (404, "unknown-command")),
    ],
)
def test_an_actor_may_send_only_what_his_role_allows(actor: str, name: str, expected: tuple[int, str]) -> None:
    assert refusal(command(actor, "pump-7", name, {"properties": {"rpm": 1}})) == expected


def test_invalid_data_names_the_field_and_the_value() -> None:
    request = read(command("pump-7", "pump-7", "register", {"command_id": "c", "data": {"model": -3}}))
    assert request.refusal is not None
    assert (request.refusal.code, request.refusal.type) == (422, "invalid-field")
    assert (request.refusal.field, request.refusal.value) == ("data.model", -3)


def test_a_flood_of_errors_is_told_in_bounded_length() -> None:
    request = read(command("pump-7", "pump-7", "register", {f"x{number}": 0 for number in range(400)}))
    assert request.refusal is not None
    assert "more)" in request.refusal.message
    assert len(request.refusal.message) < 2_000


def test_a_command_whose_properties_were_too_many_to_be_read_is_refused_under_its_own_id() -> None:
    body = {"command_id": "c-1", "data": {"model": "T-1000"}}
    delivery = command("pump-7", "pump-7", "register", body, properties=properties(complete=False))
    assert refusal(delivery) == (413, "too-large")
    assert read(delivery).command_id == "c-1"


def test_a_retained_command_is_refused() -> None:
    assert refusal(command("p", "p", "register", {"model": "T"}, retain=True)) == (410, "retained")


def test_an_expired_command_is_not_refused_before_anybody_has_looked_whether_it_took_effect() -> None:
    body = {"data": {"model": "T"}, "expires_at": "2026-03-01T11:59:00Z"}
    request = read(command("p", "p", "register", body))
    assert request.refusal is None
    assert request.expires_at == NOW - timedelta(minutes=1)


def test_a_response_topic_in_the_actors_own_subtree_is_used() -> None:
    request = read(
        command("p", "p", "register", {"model": "T"}, properties=properties(response_topic=f"{ROOT}/ack/p/inbox"))
    )
    assert request.refusal is None
    assert request.reply.topic == f"{ROOT}/ack/p/inbox"


def test_any_other_response_topic_is_refused_on_the_default_topic() -> None:
    foreign = properties(response_topic=f"{ROOT}/cmd/valve-2/valve-2/report", correlation_data=b"c")
    delivery = command("p", "p", "register", {"model": "T"}, properties=foreign)
    assert refusal(delivery) == (403, "response-topic-not-permitted")
    assert read(delivery).reply == ReplyTo(f"{ROOT}/ack/p/p", b"c")


def test_a_topic_with_nobody_to_answer_is_not_a_request() -> None:
    with pytest.raises(UnreadableTopic):
        read(FakeDelivery(f"{ROOT}/cmd/p"))


def test_the_digest_stands_for_the_content_and_not_for_its_spelling() -> None:
    def digest(body: bytes) -> bytes:
        return read(command("alice", "p", "configure", body)).digest

    original = digest(b'{"command_id": "c", "data": {"properties": {"a": 1, "b": 2}}}')
    respelled = b'{"data":{"properties":{"b":2,"a":1}},"command_id":"c","issued_at":"2026-01-01T00:00:00Z"}'
    assert digest(respelled) == original
    assert digest(b'{"properties": {"a": 1, "b": 2}}') == original
    assert digest(b'{"properties": {"a": 1, "b": 3}}') != original
    assert digest(b'{"data": {"properties": {"a": 1, "b": 2}}, "expected_revision": 1}') != original
    assert read(command("alice", "p", "annotate", {"properties": {"a": 1, "b": 2}})).digest != original


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["data", "command_id"]), inner),
)


@given(st.binary(max_size=200) | JSON.map(orjson.dumps))
def test_whatever_the_payload_the_intake_gives_a_request(payload: bytes) -> None:
    request = read(command("pump-7", "pump-7", "report", payload))
    assert (request.command is None) == (request.refusal is not None)
