"""Every code that a sender can be answered with, beside those of commands that are in order."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.site import Site, site
from tests.support.technician import Technician, verdict

MODEL = {"model": "T-1000"}


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        (b"{not json", "not-json"),
        (b"[1, 2]", "bad-envelope"),
        (b'{"data": {"properties": {"rpm": NaN}}}', "not-json"),
        (b'{"data": {}, "dry_run": "maybe"}', "bad-envelope"),
        (b'{"data": {}, "surprise": 1}', "bad-envelope"),
        (b'{"data": {"properties": {"deep": ' + b"[" * 40 + b"]" * 40 + b"}}}", "too-deep"),
    ],
)
async def test_a_body_that_is_no_envelope_is_refused_with_400(
    tech: Technician, online: str, body: bytes, type_: str
) -> None:
    command_id = str(uuid4())
    await tech.publish(f"cmd/{online}/{online}/report", body, correlation=command_id.encode())
    ack = await tech.ack(command_id)
    assert (ack["status"], *verdict(ack)) == ("rejected", 400, type_)


async def test_a_stranger_is_refused_with_403(tech: Technician, online: str) -> None:
    ack = await tech.send("mallory", online, "report", {"properties": {"rpm": 1}})
    assert verdict(ack) == (403, "not-permitted")


async def test_a_device_may_not_send_what_is_for_operators(tech: Technician, online: str) -> None:
    assert verdict(await tech.send(online, online, "suspend")) == (403, "not-permitted")


async def test_an_operator_may_not_speak_for_a_device(tech: Technician, online: str) -> None:
    assert verdict(await tech.send("alice", online, "report", {"properties": {"rpm": 1}})) == (403, "not-permitted")


async def test_an_unknown_device_is_refused_with_404(tech: Technician, device: str) -> None:
    assert verdict(await tech.send("alice", device, "suspend")) == (404, "unknown-device")


async def test_an_unknown_command_is_refused_with_404(tech: Technician, online: str) -> None:
    assert verdict(await tech.send("alice", online, "explode")) == (404, "unknown-command")


async def test_an_expired_command_is_refused_with_410(tech: Technician, online: str) -> None:
    ack = await tech.send(
        online,
        online,
        "report",
        {"properties": {"rpm": 1}},
        expires_at=(datetime.now(UTC) - timedelta(seconds=1)).isoformat(),
    )
    assert verdict(ack) == (410, "expired")


async def test_a_command_that_has_not_expired_is_accepted(tech: Technician, online: str) -> None:
    command_id = str(uuid4())
    body = {"command_id": command_id, "data": {"properties": {"rpm": 1}}}
    await tech.publish(f"cmd/{online}/{online}/report", body, expiry=60)
    assert (await tech.ack(command_id))["code"] == 200


async def test_a_retained_command_is_refused_with_410_whenever_it_comes(tech: Technician, online: str) -> None:
    topic, command_id = f"cmd/{online}/{online}/report", str(uuid4())
    await tech.publish(topic, {"command_id": command_id, "data": {"properties": {"rpm": 1}}}, retain=True)
    assert verdict(await tech.ack(command_id)) == (410, "retained")
    await tech.publish(topic, b"", retain=True)
    again = await tech.send(online, online, "report", {"properties": {"rpm": 1}}, id=command_id)
    assert (*verdict(again), again["duplicate"]) == (410, "retained", True)


async def test_another_revision_than_expected_is_refused_with_412_and_the_current_one(
    tech: Technician, online: str
) -> None:
    ack = await tech.send(online, online, "report", {"properties": {"rpm": 1}}, expected_revision=0)
    assert (*verdict(ack), ack["revision"]) == (412, "wrong-revision", 1)
    right = await tech.send(online, online, "report", {"properties": {"rpm": 1}}, expected_revision=1)
    assert (right["code"], right["revision"]) == (200, 2)


async def test_a_device_that_must_not_exist_yet_is_refused_with_412_if_it_does(tech: Technician, device: str) -> None:
    assert (await tech.send(device, device, "register", MODEL, expected_revision=-1))["code"] == 201
    again = await tech.send(device, device, "register", MODEL, expected_revision=-1)
    assert verdict(again) == (412, "wrong-revision")


async def test_a_payload_over_the_limit_is_refused_with_413(tech: Technician, online: str) -> None:
    command_id = str(uuid4())
    body = b'{"properties": {"blob": "' + b"x" * 70_000 + b'"}}'
    await tech.publish(f"cmd/{online}/{online}/report", body, correlation=command_id.encode())
    assert verdict(await tech.ack(command_id)) == (413, "too-large")


async def test_an_invalid_field_is_refused_with_422_and_named(tech: Technician, device: str) -> None:
    ack = await tech.send(device, device, "register", {"model": 7})
    assert (*verdict(ack), ack["error"]["field"], ack["error"]["value"]) == (422, "invalid-field", "data.model", 7)


async def test_a_dry_run_tells_the_events_and_changes_nothing(tech: Technician, online: str) -> None:
    data = {"properties": {"rpm": 5}}
    rehearsed = await tech.send(online, online, "report", data, dry_run=True)
    assert (*verdict(rehearsed), rehearsed["dry_run"], rehearsed["revision"]) == (200, "PropertiesReported", True, 1)
    assert rehearsed["events"][0]["data"]["properties"] == {"rpm": 5}
    real = await tech.send(online, online, "report", data, id=rehearsed["command_id"])
    assert (real["code"], real["duplicate"], real["revision"]) == (200, False, 2)


async def test_a_command_may_wait_for_the_read_cache(tech: Technician, online: str) -> None:
    ack = await tech.send(online, online, "report", {"properties": {"rpm": 5}}, wait_for="projected")
    assert verdict(ack) == (200, "PropertiesReported")


async def test_an_actor_that_sends_too_fast_is_deferred_with_429_and_may_send_again(slow_site: Site) -> None:
    async with slow_site.technician() as tech:
        ids = [str(uuid4()) for _ in range(6)]
        for command_id in ids:
            await tech.publish("cmd/pump-1/pump-1/register", {"command_id": command_id, "data": MODEL})
        acks = [await tech.ack(command_id) for command_id in ids]
        assert [ack["code"] for ack in acks[:3]] == [201, 204, 204]
        assert verdict(acks[-1]) == (429, "too-fast")
        assert 0 < acks[-1]["retry_after_ms"] <= 1_000
        assert acks[-1]["status"] == "deferred"
        async with asyncio.timeout(10):
            while verdict(await tech.send("pump-1", "pump-1", "register", MODEL, id=ids[-1])) != (204,):
                pass


@pytest.fixture
def slow_site(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, {"limits": {"commands_per_second": 2.0, "burst": 3}}) as one:
        yield one
