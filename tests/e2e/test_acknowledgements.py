"""Where an acknowledgement goes, and what it brings back."""

from typing import Any
from uuid import uuid4

import pytest

from tests.support.site import Site
from tests.support.technician import Body, Received, Technician, retained, verdict

REPORT: Body = {"properties": {"rpm": 900}}


async def _ask(tech: Technician, device: str, **properties: Any) -> Received:
    command_id = str(uuid4())
    await tech.publish(
        f"cmd/{device}/{device}/report",
        {"command_id": command_id, "data": REPORT},
        **properties,
    )
    await tech.ack(command_id)
    return tech.acks[command_id][0]


async def test_without_a_response_topic_it_goes_to_the_actors_default_topic(tech: Technician, online: str) -> None:
    ack = await _ask(tech, online)
    assert ack.topic == f"ack/{online}/{online}"


async def test_a_response_topic_below_the_actors_own_subtree_is_honoured(tech: Technician, online: str) -> None:
    ack = await _ask(tech, online, response_topic=f"ack/{online}/my/own/place")
    assert ack.topic == f"ack/{online}/my/own/place"
    assert ack.body["code"] == 200


@pytest.mark.parametrize("elsewhere", ["ack/alice/phone", "state/pump-1", "cmd/alice/pump-1/suspend"])
async def test_any_other_response_topic_is_refused_on_the_default_topic(
    tech: Technician, online: str, elsewhere: str
) -> None:
    ack = await _ask(tech, online, response_topic=elsewhere)
    assert ack.topic == f"ack/{online}/{online}"
    assert verdict(ack.body) == (403, "response-topic-not-permitted")


async def test_a_response_topic_that_the_broker_would_hang_up_over_is_refused(
    shared_site: Site, tech: Technician, online: str
) -> None:
    lost = len(shared_site.gateway.log("link_lost"))
    ack = await _ask(tech, online, response_topic=f"ack/{online}/{'x/' * 250}x")
    assert ack.topic == f"ack/{online}/{online}"
    assert verdict(ack.body) == (403, "response-topic-not-permitted")
    assert len(shared_site.gateway.log("link_lost")) == lost


async def test_correlation_data_comes_back_unchanged(tech: Technician, online: str) -> None:
    ack = await _ask(tech, online, correlation=b"\x00\xff any bytes")
    assert ack.correlation == b"\x00\xff any bytes"


async def test_status_and_code_stand_in_the_user_properties(tech: Technician, online: str) -> None:
    ack = await _ask(tech, online)
    assert dict(ack.user) == {"status": "accepted", "code": "200"}
    assert ack.content_type == "application/json"


async def test_the_trace_of_a_command_comes_back_with_its_answer(tech: Technician, online: str) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ack = await _ask(tech, online, user=(("traceparent", trace),))
    assert dict(ack.user)["traceparent"] == trace


async def test_it_names_the_command_and_what_became_of_it(tech: Technician, online: str) -> None:
    ack = (await _ask(tech, online)).body
    expected = {"device": online, "command": "report", "actor": online, "status": "accepted", "duplicate": False}
    assert expected.items() <= ack.items()
    assert (ack["dedupe"], ack["revision"], ack["gateway"]) == ("stored", 2, "gw1")
    assert ack["received_at"] <= ack["persisted_at"]
    assert [(event["type"], event["revision"]) for event in ack["events"]] == [("PropertiesReported", 2)]


async def test_correlation_data_serves_as_the_command_id_where_the_body_has_none(tech: Technician, online: str) -> None:
    command_id = str(uuid4())
    for _ in range(2):
        await tech.publish(f"cmd/{online}/{online}/report", REPORT, correlation=command_id.encode())
    assert (await tech.ack(command_id))["dedupe"] == "stored"
    assert (await tech.ack(command_id, 1))["duplicate"] is True


async def test_a_command_without_any_id_is_told_that_its_copies_cannot_be_recognised(
    tech: Technician, online: str
) -> None:
    await tech.publish(f"cmd/{online}/{online}/report", REPORT)
    ack = await tech.until(f"ack/{online}/{online}", lambda ack: ack["command"] == "report")
    assert (ack["code"], ack["dedupe"]) == (200, "none")
    assert ack["command_id"]


async def test_no_acknowledgement_is_retained(shared_site: Site, tech: Technician, online: str) -> None:
    await _ask(tech, online)
    assert await retained(shared_site.broker.port, "ack/#") == {}
