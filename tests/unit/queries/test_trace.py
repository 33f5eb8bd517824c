"""What caused what, as the log tells it: by command id, by event, and by the course that it belongs to."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from pydantic import ValidationError

from gateway.adapters.sqlite import Database, open_database
from gateway.adapters.sqlite_log import SqliteLog
from gateway.adapters.sqlite_outcomes import SqliteOutcomes
from gateway.codec import EventCodec
from gateway.domain.catalogue import Catalogue
from gateway.ids import event_id
from gateway.messages import ErrorDetail, Outcome, Verdict
from gateway.queries import outcomes as outcomes_module
from gateway.queries import trace as module
from gateway.queries.answers import Result
from gateway.queries.parameters import Trace
from gateway.queries.trace import TraceQueries
from tests.support.counter_decider import COUNTER, Counted
from tests.support.requests import NOW, REQUEST

CATALOGUE = Catalogue([COUNTER])
CODEC = EventCodec(CATALOGUE)


class Plant:
    """Commands that were accepted, and what can be asked of them."""

    def __init__(self, database: Database) -> None:
        self.log = SqliteLog(database)
        self.outcomes = SqliteOutcomes(database)
        self.queries = TraceQueries(self.log, CATALOGUE, self.outcomes)

    async def accept(
        self, command_id: str, *, course: str | None = None, actor: str = "alice", device: str = "a", count: int = 1
    ) -> list[UUID]:
        """Ids of the events that it caused."""
        request = replace(
            REQUEST,
            key=event_id(actor, device, command_id, 0),
            command_id=command_id,
            actor=actor,
            device=device,
            correlation_id=course,
        )
        stream = f"counter-{device}"
        new = CODEC.encode([Counted(at=NOW)] * count, request, "gw1")
        await self.log.append(stream, len(await self.log.read_stream(stream, limit=10_000)) - 1, new)
        return [event.id for event in new]

    async def ask(self, *, sees: str | None = None, **parameters: Any) -> Result:
        def allowed(device: str) -> bool:
            return sees in {None, device}

        return await self.queries.trace(Trace(**parameters), allowed)


@pytest.fixture
async def plant(tmp_path: Path) -> Any:
    async with open_database(tmp_path / "gateway.db") as database:
        yield Plant(database)


def commands(result: Result) -> list[dict[str, Any]]:
    return [orjson.loads(orjson.dumps(one)) for one in result.value["commands"]]


def onwards(result: Result) -> dict[str, Any]:
    """Where a trace of a command id goes on."""
    assert result.next is not None
    return {"cursor": UUID(str(result.next["cursor"]))}


def ids(result: Result) -> list[str]:
    return [command["command_id"] for command in commands(result)]


async def test_a_command_is_told_with_its_events_and_what_they_name_as_cause(plant: Plant) -> None:
    events = await plant.accept("c-1", course="rollout", count=2)
    [command] = commands(await plant.ask(command_id="c-1"))
    assert (command["command_id"], command["code"], command["correlation_id"]) == ("c-1", 201, "rollout")
    assert [(event["id"], event["causation_id"], event["revision"]) for event in command["events"]] == [
        (str(events[0]), "c-1", 0),
        (str(events[1]), "c-1", 1),
    ]


async def test_any_event_leads_to_its_command(plant: Plant) -> None:
    await plant.accept("c-1")
    events = await plant.accept("c-2", count=3)
    for event in events:
        [command] = commands(await plant.ask(event_id=event))
        assert command["command_id"] == "c-2"
        assert [one["id"] for one in command["events"]] == list(map(str, events))


async def test_a_refused_command_is_told_without_events(plant: Plant) -> None:
    outcome = Outcome(422, bytes(16), NOW, error=ErrorDetail("invalid-field", "no"), persisted_at=NOW)
    await plant.outcomes.remember([Verdict(event_id("alice", "a", "c-9", 0), "c-9", "alice", "a", "count", outcome)])
    for scope in ({}, {"actor": "alice", "device": "a"}):
        [command] = commands(await plant.ask(command_id="c-9", **scope))
        assert (command["code"], command["error"]["type"], command["events"]) == (422, "invalid-field", [])


async def test_what_nobody_sent_leads_nowhere(plant: Plant) -> None:
    for start in ({"command_id": "c-0"}, {"event_id": UUID(int=7)}, {"correlation_id": "c-0"}):
        result = await plant.ask(**start)
        assert (commands(result), result.value["complete"], result.next) == ([], True, None)


async def test_actor_and_device_tell_commands_with_the_same_id_apart(plant: Plant) -> None:
    for actor, device in (("alice", "a"), ("alice", "b"), ("bob", "a")):
        await plant.accept("c-1", actor=actor, device=device)

    async def found(**scope: str) -> set[tuple[str, str]]:
        return {(one["actor"], one["device"]) for one in commands(await plant.ask(command_id="c-1", **scope))}

    assert await found() == {("alice", "a"), ("alice", "b"), ("bob", "a")}
    assert await found(actor="alice") == {("alice", "a"), ("alice", "b")}
    assert await found(device="a") == {("alice", "a"), ("bob", "a")}
    assert await found(actor="bob", device="a") == {("bob", "a")}
    assert await found(actor="bob", device="b") == set()


async def test_a_course_is_told_from_the_command_that_the_others_name(plant: Plant) -> None:
    await plant.accept("before")
    await plant.accept("root", count=2)
    await plant.accept("other", device="b")
    await plant.accept("child", course="root", device="b")
    result = await plant.ask(correlation_id="root")
    assert (ids(result), result.value["complete"], result.next) == (["root", "child"], True, None)
    assert result.value["searched"] == {"after": 1, "to": 5}


async def test_a_course_without_a_first_command_is_looked_for_from_the_beginning(plant: Plant) -> None:
    await plant.accept("c-1", course="rollout")
    await plant.accept("c-2")
    await plant.accept("c-3", course="rollout")
    result = await plant.ask(correlation_id="rollout")
    assert (ids(result), result.value["searched"]) == (["c-1", "c-3"], {"after": 0, "to": 3})
    assert ids(await plant.ask(correlation_id="rollout", after=1)) == ["c-3"]


@pytest.mark.parametrize("limit", [1, 3, 10])
async def test_page_by_page_a_course_is_told_whole_and_once(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(module, "MOST_SCANNED", 6)
    monkeypatch.setattr(module, "PAGE", 2)
    for number in range(10):
        await plant.accept(f"c-{number}", course="rollout" if number % 3 else None, count=2)
    seen: list[str] = []
    following: dict[str, Any] = {}
    while True:
        result = await plant.ask(correlation_id="rollout", limit=limit, **following)
        seen += ids(result)
        assert all(len(command["events"]) == 2 for command in commands(result))
        assert result.value["complete"] is (result.next is None)
        if result.next is None:
            break
        following = result.next
    assert seen == [f"c-{number}" for number in range(10) if number % 3]


async def test_of_more_commands_than_are_wanted_it_says_that_some_are_left_out(plant: Plant) -> None:
    for device in ("a", "b", "c"):
        await plant.accept("c-1", device=device)
    result = await plant.ask(command_id="c-1", limit=2)
    assert (len(commands(result)), result.value["complete"]) == (2, False)
    others = await plant.ask(command_id="c-1", limit=2, **onwards(result))
    assert (len(commands(others)), others.value["complete"], others.next) == (1, True, None)
    assert {one["device"] for one in (*commands(result), *commands(others))} == {"a", "b", "c"}


async def test_whoever_may_see_few_of_many_that_used_an_id_finds_them(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes_module, "PAGE", 3)
    for number in range(20):
        await plant.accept("1", device=f"d{number}", actor=f"d{number}")
    for number in range(20):
        result = await plant.ask(command_id="1", sees=f"d{number}")
        assert ([one["device"] for one in commands(result)], result.value["complete"]) == ([f"d{number}"], True)


async def test_what_was_not_looked_at_is_not_told_as_complete(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes_module, "PAGE", 3)
    monkeypatch.setattr(outcomes_module, "MOST_PAGES", 2)
    for number in range(20):
        await plant.accept("1", device=f"d{number}", actor=f"d{number}")
    seen: list[str] = []
    following: dict[str, Any] = {}
    while True:
        result = await plant.ask(command_id="1", sees="d7", **following)
        seen += [one["device"] for one in commands(result)]
        assert result.value["complete"] is (result.next is None)
        if result.next is None:
            break
        following = onwards(result)
    assert seen == ["d7"]


async def test_whoever_names_the_device_need_not_search_for_what_it_has_sent(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes_module, "MOST_PAGES", 0)
    for number in range(20):
        await plant.accept("1", device=f"d{number}", actor=f"d{number}")
        await plant.accept("1", device=f"d{number}", actor="alice")
    seen: set[str] = set()
    following: dict[str, Any] = {}
    for _ in range(2):
        scope = Trace(command_id="1", device="d7", limit=1, **following)
        result = await plant.queries.trace(scope, lambda _device: True, "alice")
        seen |= {one["actor"] for one in commands(result)}
        following = onwards(result) if result.next else {}
    assert seen == {"d7", "alice"}


@pytest.mark.parametrize("start", ["command_id", "event_id", "correlation_id"])
async def test_nobody_learns_of_a_device_that_he_may_not_see(plant: Plant, start: str) -> None:
    [hidden] = await plant.accept("c-1", device="b")
    await plant.accept("c-2", course="c-1", device="a")
    names = {"command_id": "c-1", "event_id": hidden, "correlation_id": "c-1"}
    result = await plant.ask(sees="a", **{start: names[start]})
    assert ids(result) == (["c-2"] if start == "correlation_id" else [])


@pytest.mark.parametrize(
    "starts", [{}, {"command_id": "c-1", "correlation_id": "c-1"}, {"event_id": UUID(int=1), "command_id": "c-1"}]
)
def test_a_trace_starts_from_one_place(starts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="needs one of"):
        Trace(**starts)
