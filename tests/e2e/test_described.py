"""Every message that a gateway takes and tells is as its own description says, with no field more."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from gateway.asyncapi import describe
from gateway.queries.parameters import QUERIES
from gateway.settings import Settings, load_catalogue
from tests.support.asking import ask
from tests.support.site import Site, site
from tests.support.technician import ROOT, Technician

pytestmark = pytest.mark.embedded

DEVICE: Final = "pump-7"
DOCUMENT: Final = describe(load_catalogue(Settings().domain), QUERIES)

OF_THE_DEVICE: Final[list[tuple[str, str, dict[str, Any], dict[str, Any]]]] = [
    (DEVICE, "register", {"model": "T-1000", "attributes": {"site": "north"}}, {}),
    (DEVICE, "register", {"model": "T-1000", "attributes": {"site": "north"}}, {}),
    (DEVICE, "connect", {"firmware": "1.4.2"}, {}),
    (DEVICE, "report", {"properties": {"rpm": 900, "text": "x", "list": [1, None]}}, {"wait_for": "projected"}),
    ("alice", "configure", {"properties": {"rpm": 1200}}, {"correlation_id": "rollout"}),
    ("alice", "configure", {"properties": {"t": 1}}, {"dry_run": True}),
    (DEVICE, "refuse-configuration", {"version": 1, "reason": "too fast"}, {}),
    (DEVICE, "raise-alarm", {"code": "hot", "severity": "critical", "message": "hot"}, {}),
    ("alice", "acknowledge-alarm", {"code": "hot", "note": "seen"}, {}),
    ("alice", "annotate", {"name": "the pump", "labels": {"row": "1"}}, {}),
    ("alice", "suspend", {"reason": "service"}, {}),
    (DEVICE, "report", {"properties": {"rpm": 1}}, {}),
    ("alice", "resume", {}, {}),
    ("alice", "configure", {"properties": {"rpm": None}}, {}),
    ("mallory", "suspend", {}, {}),
    (DEVICE, "report", {"properties": {}}, {}),
    (DEVICE, "nonsense", {}, {}),
    (DEVICE, "report", {"properties": {"rpm": 2}}, {"expected_revision": 0}),
    (DEVICE, "report", {"properties": {"rpm": 3}}, {"expires_at": "2020-01-01T00:00:00Z"}),
]

ASKED: Final[list[tuple[str, str, dict[str, Any]]]] = [
    ("alice", "get", {"device": DEVICE}),
    ("alice", "list", {"limit": 1, "fields": ["model"]}),
    ("alice", "alarms", {}),
    ("alice", "summary", {}),
    ("alice", "history", {"device": DEVICE, "limit": 2}),
    ("alice", "state_at", {"device": DEVICE, "at": 1}),
    ("alice", "diff", {"device": DEVICE, "from_": 0, "to": 2}),
    ("alice", "feed", {"limit": 2}),
    ("alice", "outcome", {"command_id": "rollout"}),
    ("alice", "trace", {"correlation_id": "rollout"}),
    ("alice", "outages", {}),
    ("alice", "commands", {}),
    ("mallory", "get", {"device": DEVICE}),
    ("alice", "get", {"device": "a b"}),
    ("alice", "get", {"device": DEVICE, "min_position": 10**9, "timeout_ms": 1}),
]


def closed(schema: Any) -> Any:
    """The same without room for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        inner.setdefault("additionalProperties", False)
    return inner


def channel_of(topic: str) -> str | None:
    """The channel that a topic belongs to; the most exact one."""
    names = [name for name, pattern in _patterns() if pattern.fullmatch(f"{ROOT}/{topic}")]
    return min(names, key=lambda name: DOCUMENT["channels"][name]["address"].count("{"), default=None)


def _patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    for name, channel in DOCUMENT["channels"].items():
        yield name, re.compile(re.sub(r"\{\w+\}", "[^/]+", channel["address"].replace(".", r"\.")))


def faults(channel: str, body: Any) -> list[str]:
    """What is not as described."""
    [message] = DOCUMENT["channels"][channel]["messages"].values()
    payload = message["payload"]
    if not channel.startswith(("command.", "event.")):
        payload = closed(payload)
    schema = {**payload, "components": DOCUMENT["components"]}
    return [f"{channel}: {error.json_path} {error.message}" for error in Draft202012Validator(schema).iter_errors(body)]


async def _everything(tech: Technician) -> None:
    """Commands, queries, and what nobody can read."""
    for number, (actor, command, data, envelope) in enumerate(OF_THE_DEVICE):
        body = {"command_id": f"c-{number}", "data": data, **envelope}
        await tech.send(actor, DEVICE, command, data, id=f"c-{number}", **envelope)
        if command != "nonsense" and data != {"properties": {}}:
            assert faults(f"command.{command}", body) == []
    await tech.send("alice", DEVICE, "suspend", {}, id="c-0")
    await tech.send("alice", DEVICE, "suspend", {"reason": "other"}, id="c-0")
    await tech.publish(f"cmd/{DEVICE}/{DEVICE}/report", {"properties": {"rpm": 7}})
    for payload in (b"{", b"\xff\xfe"):
        await tech.publish(f"cmd/{DEVICE}/{DEVICE}/report", payload)
    for actor, query, parameters in ASKED:
        answer = await ask(tech, actor, query, **parameters)
        if answer["code"] == 200:
            asked = {key.rstrip("_"): value for key, value in parameters.items()}
            assert faults(f"query.{query}", asked) == []


@pytest.fixture
def settled(tmp_path: Path) -> Iterator[Site]:
    """Where an outage that is over is in the ledger soon."""
    with site(tmp_path, {"outages": {"settle": 0.2}}) as one:
        yield one


async def test_what_a_gateway_takes_and_tells_is_as_it_is_described(settled: Site) -> None:
    async with settled.technician() as tech:
        for pattern in ("state/#", "config/#", "event/#", "gateway/#", "deadletter"):
            await tech.watch(pattern)
        await _everything(tech)
        # what it went through itself, and the word of its end
        await asyncio.to_thread(settled.gateway.kill)
        await tech.until("gateway/status", lambda status: status["state"] == "offline")
        await asyncio.to_thread(settled.gateway.start)
        await tech.until("state/gw1", lambda state: state["counts"] == {"crash": 1})
        await tech.until("gateway/health", lambda health: health["read_cache"]["lag"] == 0)
        letters = [message for message in tech.received if message.topic == "deadletter"]
        assert {next(iter({"payload", "payload_base64"} & letter.body.keys())) for letter in letters} == {
            "payload",
            "payload_base64",
        }
        await tech.first(lambda message: message.topic == f"state/{DEVICE}" and message.body.get("revision", 0) > 8)
        told = [(message.topic, message.payload) for message in tech.received]
        told += [(message.topic, message.payload) for acks in tech.acks.values() for message in acks]

    seen: set[str] = set()
    wrong: set[str] = set()
    for topic, payload in told:
        channel = channel_of(topic)
        assert channel is not None, topic
        seen.add(channel)
        wrong |= set(faults(channel, json.loads(payload)) if payload else [])
    assert wrong == set()
    assert seen >= {name for name in DOCUMENT["channels"] if "." not in name}
    assert {"event.DeviceRegistered", "event.ConfigurationRefused", "event.OutageRecorded"} <= seen


def test_a_field_too_many_or_too_few_is_found() -> None:
    status = {"state": "online", "epoch": 1, "since": "2026-03-01T12:00:00Z"}
    assert faults("status", status) == []
    assert faults("status", {**status, "more": 1}) != []
    assert faults("status", {"state": "online"}) != []
