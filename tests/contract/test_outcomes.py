"""What every memory of outcomes promises. Another one is one more line in MEMORIES."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from gateway.adapters.event_index import EventIndex
from gateway.adapters.indexed_store import IndexedOutcomes, IndexedStore
from gateway.adapters.sqlite import open_database
from gateway.adapters.sqlite_log import SqliteLog
from gateway.adapters.sqlite_outcomes import SqliteOutcomes
from gateway.ids import event_id
from gateway.messages import NO_STREAM, ErrorDetail, EventRef, Outcome, Verdict
from gateway.ports import EventStore, SearchableOutcomes
from gateway.queries.outcomes import PAGE, Scope, verdicts
from tests.support.memory_store import MemoryStore
from tests.support.new_events import DIGEST, RECEIVED_AT, events_of_command, new_events


@dataclass(frozen=True)
class Memory:
    """A memory of outcomes and the log beside it."""

    outcomes: SearchableOutcomes
    store: EventStore

    async def find(self, keys: Sequence[UUID], device: str = "pump-7") -> Mapping[UUID, Outcome]:
        """What is known of commands as of the newest event of a device."""
        stream = f"device-{device}"
        return await self.outcomes.find(stream, len(await self.store.read_stream(stream, limit=10_000)) - 1, keys)


@asynccontextmanager
async def sqlite_memory(directory: Path) -> AsyncIterator[Memory]:
    async with open_database(directory / "gateway.db") as database:
        yield Memory(SqliteOutcomes(database), SqliteLog(database))


@asynccontextmanager
async def indexed_memory(directory: Path) -> AsyncIterator[Memory]:
    """Beside a store that has no index of its own."""
    async with open_database(directory / "gateway.db") as database:
        store = MemoryStore()
        index = EventIndex(database, store)
        yield Memory(IndexedOutcomes(store, index, SqliteOutcomes(database)), IndexedStore(store, index))


Factory = Callable[[Path], AbstractAsyncContextManager[Memory]]
MEMORIES: dict[str, Factory] = {"sqlite": sqlite_memory, "indexed": indexed_memory}


@pytest.fixture(params=MEMORIES)
async def memory(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Memory]:
    async with MEMORIES[request.param](tmp_path) as memory:
        yield memory


def key_of(command_id: str) -> UUID:
    return event_id("alice", "pump-7", command_id, 0)


def refused(command_id: str, *, code: int = 422, at: datetime = RECEIVED_AT) -> Verdict:
    outcome = Outcome(
        code=code,
        digest=DIGEST,
        received_at=at,
        revision=4,
        error=ErrorDetail("invalid-field", "rpm must be positive", "data.rpm", -3),
        persisted_at=at,
    )
    return Verdict(key_of(command_id), command_id, "alice", "pump-7", "configure", outcome)


async def that_hold(memory: Memory, command_id: str, **scope: str) -> list[Verdict]:
    """All verdicts under a command id, page by page."""
    after: UUID | None = None
    seen: list[Verdict] = []
    while True:
        known = Scope(command_id, lambda device: scope.get("sees") in {None, device}, **_without_sees(scope))
        found, after = await verdicts(memory.outcomes, known, after, 7)
        seen += [verdict for verdict, _ in found]
        if after is None:
            return seen


def _without_sees(scope: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in scope.items() if name != "sees"}


async def test_an_unknown_command_has_no_outcome(memory: Memory) -> None:
    assert dict(await memory.find([key_of("c1")])) == {}
    assert dict(await memory.find([])) == {}


async def test_a_remembered_outcome_is_found_exactly_as_it_was(memory: Memory) -> None:
    verdict = refused("c1")
    await memory.outcomes.remember([verdict])
    assert dict(await memory.find([key_of("c1")])) == {verdict.key: verdict.outcome}


async def test_the_newest_verdict_on_a_command_counts(memory: Memory) -> None:
    await memory.outcomes.remember([refused("c1", code=422)])
    await memory.outcomes.remember([refused("c1", code=404), refused("c2", code=404)])

    found = await memory.find([key_of("c1"), key_of("c2")])
    assert [found[key_of("c1")].code, found[key_of("c2")].code] == [404, 404]


async def test_the_outcome_of_an_accepted_command_is_rebuilt_from_its_events(memory: Memory) -> None:
    events = events_of_command("c1", count=2)
    appended = await memory.store.append("device-pump-7", NO_STREAM, events)

    found = await memory.find([key_of("c1")])

    assert found[key_of("c1")] == Outcome(
        code=201,
        digest=DIGEST,
        received_at=RECEIVED_AT,
        revision=1,
        position=appended.positions[-1],
        events=(EventRef(events[0].id, "Type0", 0), EventRef(events[1].id, "Type1", 1)),
        persisted_at=appended.recorded_at,
    )


async def test_an_outcome_holds_the_events_of_its_own_command_only(memory: Memory) -> None:
    before, own, behind = events_of_command("c1", count=2), events_of_command("c2", count=3), events_of_command("c3")
    await memory.store.append("device-pump-7", NO_STREAM, [*before, *own, *behind])

    found = await memory.find([key_of("c2")])

    assert list(found) == [key_of("c2")]
    assert [event.id for event in found[key_of("c2")].events] == [event.id for event in own]
    assert (found[key_of("c2")].revision, found[key_of("c2")].code) == (4, 200)


async def test_an_outcome_holds_all_of_many_events(memory: Memory) -> None:
    events = events_of_command("c1", count=40)
    await memory.store.append("device-pump-7", NO_STREAM, events)

    found = await memory.find([key_of("c1")])

    assert [event.id for event in found[key_of("c1")].events] == [event.id for event in events]


async def test_the_same_id_of_another_actor_or_device_is_another_command(memory: Memory) -> None:
    await memory.store.append("device-pump-7", NO_STREAM, events_of_command("c1"))
    await memory.outcomes.remember([refused("c2")])
    others = [event_id("bob", "pump-7", id, 0) for id in ("c1", "c2")]
    others += [event_id("alice", "pump-8", id, 0) for id in ("c1", "c2")]

    assert dict(await memory.find(others)) == {}


async def test_accepted_and_refused_commands_are_found_together_among_unknown_ones(memory: Memory) -> None:
    await memory.store.append(
        "device-pump-7", NO_STREAM, [event for n in range(300) for event in events_of_command(f"a{n}")]
    )
    await memory.outcomes.remember([refused(f"r{n}") for n in range(300)])

    found = await memory.find([key_of(f"{kind}{n}") for n in range(400) for kind in "aru"])

    assert set(found) == {key_of(f"{kind}{n}") for n in range(300) for kind in "ar"}


async def test_callers_that_ask_at_once_each_get_their_own_answer(memory: Memory) -> None:
    await memory.outcomes.remember([refused(f"c{n}") for n in range(0, 40, 2)])

    answers = await asyncio.gather(*(memory.find([key_of(f"c{n}"), key_of("c0")]) for n in range(40)))

    for n, found in enumerate(answers):
        assert set(found) == {key_of("c0")} | ({key_of(f"c{n}")} if n % 2 == 0 else set())


async def test_whatever_was_confirmed_is_found_at_once(memory: Memory) -> None:
    async def write_and_find(n: int) -> bool:
        events = events_of_command(f"c{n}", device=f"pump-{n}")
        await memory.store.append(f"device-pump-{n}", NO_STREAM, events)
        verdict = refused(f"r{n}")
        accepted = await memory.find([events[0].id], f"pump-{n}")
        await memory.outcomes.remember([verdict])
        return bool(accepted) and bool(await memory.find([verdict.key]))

    assert all(await asyncio.gather(*(write_and_find(n) for n in range(50))))


async def test_only_what_was_remembered_before_a_time_is_forgotten(memory: Memory) -> None:
    old = [refused(f"old{n}", at=RECEIVED_AT - timedelta(days=1)) for n in range(1_200)]
    await memory.outcomes.remember([*old, refused("new")])

    assert await memory.outcomes.prune(RECEIVED_AT) == 1_200
    assert set(await memory.find([key_of("old7"), key_of("new")])) == {key_of("new")}
    assert await memory.outcomes.prune(RECEIVED_AT) == 0


async def test_accepted_commands_are_never_forgotten(memory: Memory) -> None:
    await memory.store.append("device-pump-7", NO_STREAM, [*events_of_command("c1"), *new_events(1)])
    assert await memory.outcomes.prune(RECEIVED_AT + timedelta(days=36_500)) == 0
    assert set(await memory.find([key_of("c1")])) == {key_of("c1")}


async def test_every_event_of_a_command_leads_to_its_verdict(memory: Memory) -> None:
    events = events_of_command("c1", count=3)
    await memory.store.append("device-pump-7", NO_STREAM, [*events, *events_of_command("c2")])
    verdicts = [await memory.outcomes.find_by_event_id(event.id) for event in events]
    assert verdicts[0] is not None
    assert verdicts == [verdicts[0]] * 3
    assert (verdicts[0].key, verdicts[0].command_id) == (key_of("c1"), "c1")
    assert [event.id for event in verdicts[0].outcome.events] == [event.id for event in events]


async def test_the_key_of_a_refused_command_leads_to_its_verdict(memory: Memory) -> None:
    await memory.outcomes.remember([refused("c1")])
    assert await memory.outcomes.find_by_event_id(key_of("c1")) == refused("c1")


async def test_an_effect_counts_more_than_an_older_verdict_whose_premise_fell(memory: Memory) -> None:
    verdict = refused("c1")
    await memory.outcomes.remember([replace(verdict, outcome=replace(verdict.outcome, premise=key_of("c0")))])
    await memory.store.append("device-pump-7", NO_STREAM, events_of_command("c1"))
    told = [
        (await memory.find([key_of("c1")]))[key_of("c1")],
        *[found.outcome for found in (await memory.outcomes.find_by_command_id("c1"))[0]],
        *[found.outcome for found in [await memory.outcomes.find_by_event_id(key_of("c1"))] if found is not None],
    ]
    assert [outcome.code for outcome in told] == [201, 201, 201]


async def test_a_verdict_is_told_once_its_premise_is_in_the_log(memory: Memory) -> None:
    verdict = refused("c2")
    resting = replace(verdict, outcome=replace(verdict.outcome, premise=key_of("c1")))
    await memory.outcomes.remember([resting])
    assert await that_hold(memory, "c2") == []
    # a premise that was refused itself is none
    await memory.outcomes.remember([refused("c1")])
    assert await that_hold(memory, "c2") == []
    await memory.store.append("device-pump-7", NO_STREAM, events_of_command("c1"))
    assert await that_hold(memory, "c2") == [resting]


async def test_an_event_that_no_command_caused_leads_to_no_verdict(memory: Memory) -> None:
    [foreign] = new_events(1)
    await memory.store.append("device-pump-7", NO_STREAM, [foreign])
    assert await memory.outcomes.find_by_event_id(foreign.id) is None
    assert await memory.outcomes.find_by_event_id(UUID(int=5)) is None


async def test_of_an_id_that_many_use_everyone_is_told_and_each_finds_his_own(memory: Memory) -> None:
    """A device that counts its commands begins with 1, as all others do."""
    many = [f"pump-{number}" for number in range(3 * PAGE)]
    for device in many:
        await memory.store.append(f"device-{device}", NO_STREAM, events_of_command("1", actor=device, device=device))
    verdict = replace(refused("1"), actor="bob")
    refusals = [replace(verdict, key=event_id("bob", device, "1", 0), device=device) for device in many]
    await memory.outcomes.remember(refusals)

    everybody = [(verdict.actor, verdict.device) for verdict in await that_hold(memory, "1")]
    assert sorted(everybody) == sorted([(device, device) for device in many] + [("bob", device) for device in many])
    for device in many:
        both = {(device, 201), ("bob", 422)}
        assert {(one.actor, one.outcome.code) for one in await that_hold(memory, "1", sees=device)} == both
        assert {(one.actor, one.outcome.code) for one in await that_hold(memory, "1", device=device)} == both
        [own] = await that_hold(memory, "1", device=device, actor=device)
        assert (own.device, own.outcome.code) == (device, 201)
    assert len(await that_hold(memory, "1", actor="bob")) == len(many)
    assert await that_hold(memory, "1", device="pump-7", actor="alice") == []


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_page_by_page_an_id_is_told_whole_and_once(memory: Memory, limit: int) -> None:
    for device in "abcde":
        await memory.store.append(f"device-{device}", NO_STREAM, events_of_command("1", device=device, count=2))
    others = [replace(refused("1"), key=event_id(actor, "a", "1", 0), actor=actor, device="a") for actor in "wxyz"]
    await memory.outcomes.remember([*others, refused("1")])

    seen: list[tuple[str, str]] = []
    after: UUID | None = None
    while True:
        page, after = await memory.outcomes.find_by_command_id("1", after=after, limit=limit)
        seen += [(verdict.actor, verdict.device) for verdict in page]
        if after is None:
            break
    everything = [("alice", device) for device in "abcde"] + [(actor, "a") for actor in "wxyz"] + [("alice", "pump-7")]
    assert sorted(seen) == sorted(everything)
