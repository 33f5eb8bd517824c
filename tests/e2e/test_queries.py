"""Queries through a real broker: as operator, as device, and as a stranger."""

import asyncio
from typing import Any

import pytest

from tests.support.apply_patch import apply_patch
from tests.support.asking import ask, ask_all
from tests.support.site import Site
from tests.support.technician import Technician


async def test_a_document_is_what_is_retained(tech: Technician, online: str) -> None:
    answer = await ask(tech, "alice", "get", device=online)
    assert (answer["code"], answer["stale"], answer["result"]["status"]) == (200, False, "online")
    assert answer["result"] == await tech.until(f"state/{online}", lambda state: state["revision"] == 1)
    assert answer["position"] >= answer["result"]["position"]


async def test_devices_are_listed_filtered_sorted_and_paged(tech: Technician, device: str) -> None:
    names = [f"{device}-{number}" for number in range(5)]
    for number, name in enumerate(names):
        await tech.send(name, name, "register", {"model": device})
        await tech.send(name, name, "report", {"properties": {"rpm": number}}, wait_for="projected")
    wanted: dict[str, Any] = {"filter": {"model": device, "reported.rpm": {"ge": 1}}, "fields": ["reported.rpm"]}
    items = await ask_all(tech, "alice", "list", **wanted, sort="-reported.rpm", limit=2)
    assert items == [{"id": names[number], "reported.rpm": number} for number in (4, 3, 2, 1)]
    alone = await ask_all(tech, names[2], "list", filter={"model": device})
    assert [item["id"] for item in alone] == [names[2]]


async def test_the_history_is_told_in_both_directions(tech: Technician, online: str) -> None:
    for number in range(5):
        await tech.send(online, online, "report", {"properties": {"n": number}})
    oldest = await ask_all(tech, "alice", "history", device=online, limit=3)
    newest = await ask_all(tech, online, "history", device=online, limit=3, order="newest")
    assert [event["revision"] for event in oldest] == list(range(7))
    assert newest == oldest[::-1]
    reports = await ask_all(tech, "alice", "history", device=online, types=["PropertiesReported"])
    assert [event["data"]["properties"] for event in reports] == [{"n": number} for number in range(5)]


async def test_time_travel_leads_from_any_state_to_any_other(tech: Technician, online: str) -> None:
    for number in range(4):
        await tech.send(online, online, "report", {"properties": {"n": number, f"p{number}": True}})
    states = [(await ask(tech, "alice", "state_at", device=online, at=at))["result"] for at in range(6)]
    assert [state["revision"] for state in states] == list(range(6))
    assert states[5]["state"]["reported"] == {"n": 3, "p0": True, "p1": True, "p2": True, "p3": True}
    by_time = await ask(tech, "alice", "state_at", device=online, at=states[3]["at"])
    assert by_time["result"] == states[3]
    for first, last in ((0, 5), (5, 1), (2, 2)):
        difference = (await ask(tech, "alice", "diff", device=online, from_=first, to=last))["result"]
        assert apply_patch(states[first]["state"], difference["patch"]) == states[last]["state"]


async def test_the_outcome_of_a_command_is_its_original_answer(tech: Technician, online: str) -> None:
    accepted = await tech.send(online, online, "report", {"properties": {"n": 1}}, id=f"{online}-1")
    refused = await tech.send("mallory", online, "suspend", id=f"{online}-2")
    for original in (accepted, refused):
        [outcome] = (await ask(tech, "alice", "outcome", command_id=original["command_id"]))["result"]
        assert outcome.items() <= original.items()
    assert (await ask(tech, "alice", "outcome", command_id="never-sent"))["result"] == []
    assert (await ask(tech, "mallory", "outcome", command_id=f"{online}-1"))["result"] == []


async def test_what_caused_what_is_told_from_command_event_and_course(tech: Technician, online: str) -> None:
    course = f"rollout-{online}"
    acks = [
        await tech.send(online, online, "report", {"properties": {"n": number}}, correlation_id=course)
        for number in range(3)
    ]
    events = [ack["events"][0]["id"] for ack in acks]
    for start in ({"command_id": acks[1]["command_id"]}, {"event_id": events[1]}):
        [command] = (await ask(tech, "alice", "trace", **start))["result"]["commands"]
        assert (command["command_id"], command["correlation_id"]) == (acks[1]["command_id"], course)
        assert [(event["id"], event["causation_id"]) for event in command["events"]] == [
            (events[1], acks[1]["command_id"])
        ]
    answer = await ask(tech, online, "trace", correlation_id=course)
    assert [command["command_id"] for command in answer["result"]["commands"]] == [ack["command_id"] for ack in acks]
    assert answer["result"]["complete"]
    for start in ({"command_id": acks[1]["command_id"]}, {"event_id": events[1]}, {"correlation_id": course}):
        assert (await ask(tech, "mallory", "trace", **start))["result"]["commands"] == []


async def test_alarms_summary_outages_and_commands_are_told(tech: Technician, online: str) -> None:
    await tech.send(online, online, "raise-alarm", {"code": "hot", "severity": "critical"}, wait_for="projected")
    [alarm] = (await ask(tech, "alice", "alarms", device=online))["result"]
    assert (alarm["device"], alarm["code"], alarm["severity"]) == (online, "hot", "critical")
    summary = (await ask(tech, "alice", "summary"))["result"]
    assert summary["devices"]["status"]["online"] >= 1
    outages = (await ask(tech, "alice", "outages"))["result"]
    assert outages.keys() == {"gateway", "pending", "unacknowledged", "unacknowledged_older", "outages", "counts"}
    commands = (await ask(tech, online, "commands"))["result"]
    assert commands["report"]["schema"]["required"] == ["properties"]


async def test_a_write_is_always_read_by_whoever_waits_for_its_position(tech: Technician, online: str) -> None:
    for number in range(50):
        ack = await tech.send(online, online, "report", {"properties": {"n": number}})
        answer = await ask(tech, online, "get", device=online, min_position=ack["position"])
        assert answer["result"]["revision"] >= ack["revision"]
        assert answer["result"]["reported"]["n"] == number
    late = await ask(tech, online, "get", device=online, min_position=10**9, timeout_ms=50)
    assert (late["code"], late["error"]["type"]) == (408, "timed-out")


async def test_a_feed_is_taken_up_where_it_was_left_without_gap_or_repeat(tech: Technician, device: str) -> None:
    ack = await tech.send(device, device, "register", {"model": "T-1000"})
    sending = [tech.send(device, device, "report", {"properties": {"n": number}}) for number in range(30)]
    sent = asyncio.gather(*sending)
    seen: list[int] = []
    place = ack["position"]
    following: dict[str, int] = {}
    while len(seen) < 30:
        known = {"from_position": place, "device": device, "limit": 7, "wait_ms": 5_000}
        answer = await ask(tech, "alice", "feed", **(known | following))
        assert answer["code"] == 200, answer
        seen += [event["revision"] for event in answer["result"]]
        following = answer["next"]
    await sent
    assert seen == list(range(1, 31))


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("get", {}),
        ("history", {}),
        ("state_at", {"at": 0}),
        ("diff", {"from_": 0, "to": 1}),
        ("alarms", {}),
        ("trace", {"command_id": "c-1"}),
    ],
)
async def test_a_stranger_learns_nothing_of_a_device(
    tech: Technician, online: str, query: str, parameters: dict[str, Any]
) -> None:
    answer = await ask(tech, "mallory", query, device=online, **parameters)
    assert (answer["code"], "result" in answer) == (403, False)


@pytest.mark.parametrize("query", ["summary", "outages"])
async def test_only_operators_learn_of_all_devices_and_of_the_gateway(
    tech: Technician, online: str, query: str
) -> None:
    assert (await ask(tech, online, query))["code"] == 403


async def test_a_stranger_sees_no_device_among_many_and_no_event(tech: Technician, online: str) -> None:
    assert (await ask(tech, "mallory", "list", filter={"id": online}))["result"] == []
    assert (await ask(tech, "mallory", "feed", limit=500))["result"] == []


async def test_without_a_response_topic_the_answer_comes_on_the_default_one(tech: Technician, online: str) -> None:
    await tech.watch(f"answer/{online}/get")
    await tech.publish(f"query/{online}/get", {"device": online}, correlation=b"mine")
    answer = await tech.first(lambda message: message.topic == f"answer/{online}/get")
    assert (answer.body["result"]["id"], answer.correlation) == (online, b"mine")
    assert (answer.retain, dict(answer.user)) == (False, {"status": "accepted", "code": "200"})


async def test_a_query_after_a_restart_is_answered(own_site: Site) -> None:
    async with own_site.technician() as tech:
        await tech.send("p", "p", "register", {"model": "T-1000"})
        await asyncio.to_thread(own_site.gateway.kill)
        asking = asyncio.create_task(ask(tech, "alice", "get", device="p"))
        await asyncio.to_thread(own_site.gateway.start)
        assert (await asking)["code"] in {200, 404}
        assert (await ask(tech, "alice", "state_at", device="p", at=0))["code"] == 200
