"""A command id takes effect once and has one answer, however often it is sent."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.site import Site
from tests.support.technician import Body, Technician

MODEL = {"model": "T-1000"}
VARYING = {"duplicate", "epoch"}


def _unvarying(ack: Body) -> Body:
    return {name: value for name, value in ack.items() if name not in VARYING}


def _is_copy(original: Body, copy: Body) -> bool:
    return copy["duplicate"] and not original["duplicate"] and _unvarying(original) == _unvarying(copy)


async def test_a_copy_gets_the_original_answer_marked_as_a_duplicate(tech: Technician, online: str) -> None:
    original = await tech.send(online, online, "report", {"properties": {"rpm": 1}}, id="c-1")
    await tech.send(online, online, "report", {"properties": {"rpm": 2}})
    copy = await tech.send(online, online, "report", {"properties": {"rpm": 1}}, id="c-1")
    assert _is_copy(original, copy)
    assert (await tech.until(f"state/{online}", lambda state: state["revision"] >= 3))["reported"] == {"rpm": 2}


async def test_a_refusal_sticks_although_it_would_be_accepted_now(tech: Technician, device: str) -> None:
    original = await tech.send(device, device, "connect", id="c-1")
    await tech.send(device, device, "register", MODEL)
    copy = await tech.send(device, device, "connect", id="c-1")
    assert original["code"] == 404
    assert _is_copy(original, copy)


async def test_an_answer_that_nothing_had_to_change_sticks(tech: Technician, online: str) -> None:
    await tech.send(online, online, "report", {"properties": {"rpm": 1}})
    original = await tech.send(online, online, "report", {"properties": {"rpm": 1}}, id="c-1")
    await tech.send(online, online, "report", {"properties": {"rpm": 2}})
    copy = await tech.send(online, online, "report", {"properties": {"rpm": 1}}, id="c-1")
    assert original["code"] == 204
    assert _is_copy(original, copy)


async def test_of_many_copies_at_once_one_takes_effect(tech: Technician, online: str) -> None:
    command_id, copies = str(uuid4()), 50
    body = {"command_id": command_id, "data": {"properties": {"rpm": 1}}}
    await asyncio.gather(*(tech.publish(f"cmd/{online}/{online}/report", body) for _ in range(copies)))
    acks = [await tech.ack(command_id, index) for index in range(copies)]
    assert [ack["duplicate"] for ack in acks] == [False] + [True] * (copies - 1)
    assert {ack["revision"] for ack in acks} == {2}


async def test_another_content_under_the_same_id_is_refused_with_409_and_not_executed(
    tech: Technician, online: str
) -> None:
    original = await tech.send(online, online, "report", {"properties": {"rpm": 1}}, id="c-1")
    other = await tech.send(online, online, "report", {"properties": {"rpm": 2}}, id="c-1")
    copy = await tech.send(online, online, "report", {"properties": {"rpm": 1}}, id="c-1")
    assert (other["code"], other["error"]["type"]) == (409, "command-id-reused")
    assert _is_copy(original, copy)
    after = await tech.send(online, online, "report", {"properties": {"rpm": 3}})
    assert after["revision"] == original["revision"] + 1


async def test_another_spelling_of_the_same_content_is_a_copy(tech: Technician, online: str) -> None:
    topic = f"cmd/{online}/{online}/report"
    await tech.publish(topic, b'{"command_id":"c-7","data":{"properties":{"a":1,"b":2}}}')
    original = await tech.ack("c-7")
    await tech.publish(topic, b'{ "data": {"properties": {"b": 2, "a": 1}}, "command_id": "c-7" }')
    assert _is_copy(original, await tech.ack("c-7", 1))


async def test_the_same_id_for_another_device_is_another_command(tech: Technician, device: str) -> None:
    command_id = str(uuid4())
    first = await tech.send("alice", f"{device}-a", "register", MODEL, id=command_id)
    second = await tech.send("alice", f"{device}-b", "register", MODEL, id=command_id)
    assert [(ack["code"], ack["duplicate"]) for ack in (first, second)] == [(201, False), (201, False)]


@pytest.mark.parametrize("end", [GatewayProcess.terminate, GatewayProcess.kill])
async def test_copies_are_recognised_by_the_next_process(
    own_site: Site, end: Callable[[GatewayProcess], object]
) -> None:
    async with own_site.technician() as tech:
        commands: list[tuple[str, Body, str]] = [
            ("connect", {}, "refused"),
            ("register", MODEL, "accepted"),
            ("register", MODEL, "unchanged"),
            *(("report", {"properties": {"rpm": rpm}}, f"report-{rpm}") for rpm in range(20)),
        ]
        originals = [await tech.send("pump-1", "pump-1", name, data, id=id) for name, data, id in commands]
        assert {ack["code"] for ack in originals} == {404, 201, 204, 200}
        await asyncio.to_thread(end, own_site.gateway)
        await asyncio.to_thread(own_site.gateway.start)
        copies = [await tech.send("pump-1", "pump-1", name, data, id=id) for name, data, id in commands]
        assert all(_is_copy(*pair) for pair in zip(originals, copies, strict=True))
        after = await tech.send("pump-1", "pump-1", "report", {"properties": {"rpm": -1}})
        assert after["revision"] == originals[-1]["revision"] + 1
