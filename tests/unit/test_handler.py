from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import orjson
import pytest

from gateway.access import Access, OperatorRule
from gateway.aggregates import Aggregates
from gateway.codec import EventCodec
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Command, Context, Event, Role
from gateway.errors import StorageFull, StoreUnavailable, WrongExpectedRevision
from gateway.handler import DOUBT, Handler
from gateway.intake import Intake
from gateway.messages import (
    NO_STREAM,
    Answer,
    Appended,
    MessageProperties,
    NewEvent,
    Outcome,
    RecordedEvent,
    Request,
    Snapshot,
    Verdict,
)
from gateway.topics import Topics
from tests.support.delivery import ROOT, command
from tests.support.fixed_clock import FixedClock
from tests.support.memory_outcomes import MemoryOutcomes
from tests.support.memory_store import MemorySnapshots, MemoryStore

HOT = {"code": "hot", "severity": "info"}
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CATALOGUE = Catalogue(DECIDERS)
CODEC = EventCodec(CATALOGUE)
INTAKE = Intake(Topics(ROOT), CATALOGUE, Access([OperatorRule(("alice",))]), max_payload=65_536)


class Bench:
    """A handler on stores in memory."""

    def __init__(self, store: MemoryStore | None = None, *, append_tells: bool = False) -> None:
        """A store whose appends tell that a command is known, or one where all are looked up before."""
        self.append_tells = append_tells
        self.store = store or MemoryStore()
        self.snapshots = MemorySnapshots()
        self.outcomes = MemoryOutcomes(self.store)
        self.clock = FixedClock(NOW)
        self.restart()

    def restart(self, late: float = 0.0) -> None:
        """Forget all that is not in a store; for so many seconds an append from before may land."""
        aggregates = Aggregates(self.store, self.snapshots, CODEC, capacity=10, snapshot_every=5)
        encode = partial(CODEC.encode, gateway="gw1")
        late_until = self.clock.monotonic() + late
        append_new = self._append_new if self.append_tells else None
        self.handler = Handler(
            self.store, self.outcomes, aggregates, encode, self.clock, append_new, late_until=late_until
        )

    async def _append_new(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        known = {event.id for event in self.store.events} | self.outcomes.remembered.keys()
        if any(event.id in known for event in events):
            there = [event for event in self.store.events if event.stream == stream]
            raise WrongExpectedRevision(stream, expected, len(there) - 1)
        return await self.store.append(stream, expected, events)

    async def die_appending(self, requests: Sequence[Request]) -> None:
        """Be killed before these commands' events are appended, but after everything that comes before that."""

        class Killed(MemoryStore):
            async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
                raise StoreUnavailable(f"killed before {len(events)} events of {stream} behind {expected}")

        store, self.store = self.store, Killed()
        self.store.events = store.events
        self.restart()
        with pytest.raises(StoreUnavailable):
            await self.handler.handle(requests)
        self.store = store
        self.restart()

    def request(self, name: str, command_id: str | None = None, *, actor: str = "p", **data: Any) -> Request:
        envelope = data.pop("envelope", {})
        body = {"data": data, **envelope} | ({"command_id": command_id} if command_id else {})
        body.setdefault("dry_run", False)
        return INTAKE.read_command(command(actor, "p", name, body), self.clock.now())

    async def send(self, name: str, command_id: str | None = None, **data: Any) -> Answer:
        [answer] = await self.handler.handle([self.request(name, command_id, **data)])
        return answer

    async def types(self) -> list[str]:
        return [event.type for event in await self.store.read_all(after=0)]


@pytest.fixture(params=[False, True], ids=["looked up before", "told by the append"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(append_tells=request.param)


def codes(answers: Sequence[Answer]) -> list[int]:
    return [answer.outcome.code for answer in answers]


async def test_the_first_event_of_a_device_is_answered_201_with_revision_and_position(bench: Bench) -> None:
    answer = await bench.send("register", "c1", model="T")
    assert answer.outcome.code == 201
    assert answer.outcome.revision == 0
    assert answer.outcome.position is not None
    assert [event.type for event in answer.outcome.events] == ["DeviceRegistered"]
    assert not answer.duplicate


async def test_commands_that_wait_together_are_decided_in_order_on_each_others_effect(bench: Bench) -> None:
    answers = await bench.handler.handle(
        [
            bench.request("register", "c1", model="T"),
            bench.request("suspend", "c2", actor="alice"),
            bench.request("report", "c3", properties={"rpm": 1}),
            bench.request("resume", "c4", actor="alice"),
            bench.request("report", "c5", properties={"rpm": 1}),
        ]
    )
    assert codes(answers) == [201, 200, 422, 200, 200]
    assert [answer.outcome.revision for answer in answers] == [0, 1, 1, 2, 3]
    assert await bench.types() == ["DeviceRegistered", "DeviceSuspended", "DeviceResumed", "PropertiesReported"]


async def test_each_command_of_a_batch_is_told_its_own_position(bench: Bench) -> None:
    answers = await bench.handler.handle(
        [bench.request("register", "c1", model="T"), bench.request("connect", "c2", firmware="2")]
    )
    recorded = await bench.store.read_all(after=0)
    assert [answer.outcome.position for answer in answers] == [recorded[0].position, recorded[-1].position]
    assert [event.type for event in answers[1].outcome.events] == ["DeviceConnected", "FirmwareChanged"]


async def test_nothing_is_appended_behind_a_verdict_that_the_disk_did_not_take(bench: Bench) -> None:
    class FullDisk(MemoryOutcomes):
        full = True

        async def remember(self, verdicts: Sequence[Verdict]) -> None:
            if self.full:
                raise StorageFull("full")
            await super().remember(verdicts)

    await bench.send("register", "c0", model="T")
    bench.outcomes = disk = FullDisk(bench.store)
    bench.restart()
    batch = [
        bench.request("clear-alarm", "c1", code="hot"),
        bench.request("raise-alarm", "c2", code="hot", severity="info"),
    ]
    with pytest.raises(StorageFull):
        await bench.handler.handle(batch)
    assert await bench.types() == ["DeviceRegistered"]
    disk.full = False
    assert codes(await bench.handler.handle(batch)) == [204, 200]
    assert await bench.types() == ["DeviceRegistered", "AlarmRaised"]
    bench.restart()
    assert codes(await bench.handler.handle(batch)) == [204, 200]


async def test_a_verdict_stands_when_the_gateway_was_killed_before_the_append_behind_it(bench: Bench) -> None:
    await bench.send("register", "c0", model="T")
    clear, warn = bench.request("clear-alarm", "c1", code="hot"), bench.request("raise-alarm", "c2", **HOT)
    await bench.die_appending([clear, warn])
    assert codes(await bench.handler.handle([warn])) == [200]
    assert codes(await bench.handler.handle([clear])) == [204]
    assert await bench.types() == ["DeviceRegistered", "AlarmRaised"]


async def test_a_verdict_falls_with_the_events_that_it_was_given_on(bench: Bench) -> None:
    await bench.send("register", "c0", model="T")
    first, again = (bench.request("raise-alarm", command_id, **HOT) for command_id in ("c1", "c2"))
    await bench.die_appending([first, again])
    assert list(bench.outcomes.remembered) == [again.key]
    assert codes(await bench.handler.handle([again, first])) == [200, 204]
    bench.restart()
    assert codes(await bench.handler.handle([first, again])) == [204, 200]


async def test_a_verdict_stands_with_the_events_that_it_was_given_on(bench: Bench) -> None:
    await bench.send("register", "c0", model="T")
    first, again = (bench.request("raise-alarm", command_id, **HOT) for command_id in ("c1", "c2"))
    assert codes(await bench.handler.handle([first, again])) == [200, 204]
    await bench.send("clear-alarm", "c3", code="hot")
    bench.restart()
    assert codes(await bench.handler.handle([again])) == [204]


async def test_where_the_append_tells_what_is_known_nothing_new_is_looked_up() -> None:
    class Asked(MemoryOutcomes):
        times = 0

        async def find(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:
            self.times += 1
            return await super().find(stream, revision, keys)

    bench = Bench(append_tells=True)
    bench.outcomes = asked = Asked(bench.store)
    bench.restart()
    await bench.send("register", "c1", model="T")
    await bench.send("report", "c2", properties={"rpm": 1})
    assert asked.times == 0
    assert (await bench.send("report", "c2", properties={"rpm": 1})).duplicate
    assert asked.times == 1


async def test_a_copy_does_not_let_the_device_be_read_anew() -> None:
    class Read(MemoryStore):
        times = 0

        async def read_stream(
            self, stream: str, *, after: int = NO_STREAM, limit: int = 1_000
        ) -> Sequence[RecordedEvent]:
            self.times += 1
            return await super().read_stream(stream, after=after, limit=limit)

    store = Read()
    bench = Bench(store, append_tells=True)
    await bench.send("register", "c1", model="T")
    await bench.send("connect", "c2")
    before = store.times
    assert (await bench.send("connect", "c2")).duplicate
    assert store.times == before


async def test_a_decider_that_fails_on_a_copy_is_not_asked_for_the_answer() -> None:
    """Such a command must not be answered 500 on its second arrival."""
    bench = Bench(append_tells=True)
    await bench.send("register", "c1", model="T")
    request = bench.request("connect", "c2")
    assert codes(await bench.handler.handle([request])) == [200]
    broken = replace(request, decider=replace(DECIDERS[0], decide=_never_again))
    [copy] = await bench.handler.handle([broken])
    assert (copy.outcome.code, copy.duplicate) == (200, True)
    with pytest.raises(ZeroDivisionError):
        await bench.handler.handle([replace(broken, key=UUID(int=1))])


def _never_again(_command: Command, _state: Any, _context: Context) -> tuple[Event, ...]:
    raise ZeroDivisionError


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_copy_of_an_accepted_command_gets_the_original_answer(bench: Bench, restarted: bool) -> None:  # noqa: FBT001
    original = await bench.send("register", "c1", model="T")
    if restarted:
        bench.restart()
    bench.clock.advance(timedelta(days=400))
    copy = await bench.send("register", "c1", model="T")
    assert copy.duplicate
    assert copy.outcome == original.outcome
    assert await bench.types() == ["DeviceRegistered"]


async def test_copies_in_one_batch_take_effect_once(bench: Bench) -> None:
    request = bench.request("register", "c1", model="T")
    answers = await bench.handler.handle([request, replace(request), replace(request)])
    assert [answer.duplicate for answer in answers] == [False, True, True]
    assert len({answer.outcome for answer in answers}) == 1
    assert await bench.types() == ["DeviceRegistered"]


async def test_a_refusal_sticks_even_when_the_state_would_allow_the_command_now(bench: Bench) -> None:
    refused = await bench.send("connect", "c1")
    assert refused.outcome.code == 404
    await bench.send("register", "c2", model="T")
    copy = await bench.send("connect", "c1")
    assert copy.duplicate
    assert copy.outcome == refused.outcome
    assert (await bench.send("connect", "c3")).outcome.code == 200


async def test_unchanged_sticks_too(bench: Bench) -> None:
    await bench.send("register", "c1", model="T")
    assert (await bench.send("disconnect", "c2")).outcome.code == 204
    await bench.send("connect", "c3")
    assert (await bench.send("disconnect", "c2")).outcome.code == 204
    assert await bench.types() == ["DeviceRegistered", "DeviceConnected"]


async def test_what_the_intake_refused_sticks_as_well(bench: Bench) -> None:
    request = bench.request("register", "c1", model=7)
    [refused] = await bench.handler.handle([request])
    assert refused.outcome.code == 422
    assert list(bench.outcomes.remembered) == [request.key]
    other_content = await bench.send("register", "c1", model="T")
    assert other_content.outcome.code == 409
    assert await bench.types() == []


async def test_a_copy_that_would_be_refused_today_still_gets_the_original_answer(bench: Bench) -> None:
    expiry = {"expires_at": (NOW + timedelta(minutes=1)).isoformat()}
    original = await bench.send("register", "c1", model="T", envelope=expiry)
    bench.clock.advance(timedelta(hours=1))
    copy = await bench.send("register", "c1", model="T", envelope=expiry)
    assert copy == Answer(original.outcome, duplicate=True)


async def test_the_same_id_with_other_content_is_refused_and_never_executed(bench: Bench) -> None:
    original = await bench.send("register", "c1", model="T")
    conflict = await bench.send("register", "c1", model="U")
    assert conflict.outcome.code == 409
    assert not conflict.duplicate
    assert (await bench.send("register", "c1", model="T")).outcome == original.outcome
    assert await bench.types() == ["DeviceRegistered"]


async def test_two_actors_may_use_the_same_id(bench: Bench) -> None:
    assert (await bench.send("register", "1", model="T")).outcome.code == 201
    assert (await bench.send("suspend", "1", actor="alice")).outcome.code == 200


@pytest.mark.parametrize("lower", ["0197b0c4-7c1a-7a3e-8f00-3b1d5c9e2a4f", "9f1c6b1e-2d34-4c55-9a77-0c1d2e3f4a5b"])
async def test_an_id_in_capital_letters_or_braces_is_another_id_even_if_it_is_a_uuid(bench: Bench, lower: str) -> None:
    await bench.send("register", "c1", model="T")
    for number, id in enumerate((lower, lower.upper(), f"{{{lower}}}", lower.replace("-", ""))):
        answer = await bench.send("report", id, properties={"n": number})
        assert (answer.outcome.code, answer.duplicate) == (200, False)
        assert (await bench.send("report", id, properties={"n": number})).duplicate
    assert len(await bench.types()) == 5


@pytest.mark.parametrize(
    "at", ["2026-03-01T13:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"]
)
async def test_the_senders_time_is_kept_and_decides_nothing_however_far_off_it_is(bench: Bench, at: str) -> None:
    await bench.send("register", "c1", model="T")
    answer = await bench.send("report", "c2", properties={"rpm": 1}, envelope={"issued_at": at})
    assert answer.outcome.code == 200
    recorded = (await bench.store.read_all(after=0))[-1]
    assert datetime.fromisoformat(orjson.loads(recorded.metadata)["issued_at"]) == datetime.fromisoformat(at)
    assert orjson.loads(recorded.data)["at"] == "2026-03-01T12:00:00Z"


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59"])
async def test_an_expiry_may_lie_as_far_ahead_as_a_sender_likes(bench: Bench, at: str) -> None:
    answer = await bench.send("register", "c1", model="T", envelope={"expires_at": at})
    assert answer.outcome.code == 201
    most = command("p", "p", "connect", properties=MessageProperties(expiry=2**32 - 1))
    [answer] = await bench.handler.handle([INTAKE.read_command(most, NOW)])
    assert answer.outcome.code == 200


async def test_commands_without_an_id_leave_no_memory(bench: Bench) -> None:
    assert (await bench.send("connect")).outcome.code == 404
    assert not bench.outcomes.remembered


async def test_a_command_that_expired_while_it_waited_is_refused(bench: Bench) -> None:
    expiry = {"expires_at": (NOW + timedelta(seconds=1)).isoformat()}
    request = bench.request("register", "c1", model="T", envelope=expiry)
    bench.clock.advance(timedelta(seconds=2))
    assert codes(await bench.handler.handle([request])) == [410]


async def test_a_copy_that_has_expired_is_looked_up_in_the_stream_where_its_effect_may_stand(bench: Bench) -> None:
    class Index(MemoryOutcomes):
        async def find(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:
            return await super().find(stream, revision, keys) if stream else {}

    bench.outcomes = Index(bench.store)
    bench.restart()
    body = {"command_id": "c1", "data": {"model": "T"}, "expires_at": (NOW + timedelta(seconds=1)).isoformat()}
    for code in (201, 201):
        request = INTAKE.read_command(command("p", "p", "register", body), bench.clock.now())
        assert codes(await bench.handler.handle([request])) == [code]
        bench.clock.advance(timedelta(seconds=2))


@pytest.mark.parametrize(("waited", "code"), [(2, 201), (DOUBT + 1, 410)])
async def test_a_command_that_may_be_on_its_way_into_the_log_is_not_refused_as_expired(
    waited: float, code: int
) -> None:
    bench = Bench(LosesTheRequest())
    expiry = {"expires_at": (NOW + timedelta(seconds=1)).isoformat()}
    request = bench.request("register", "c1", model="T", envelope=expiry)
    with pytest.raises(StoreUnavailable):
        await bench.handler.handle([request])
    bench.clock.advance(timedelta(seconds=waited))
    assert codes(await bench.handler.handle([request])) == [code]


@pytest.mark.parametrize(("lands", "code"), [(True, 201), (False, 410)])
async def test_an_expired_command_is_refused_only_once_no_append_from_before_the_restart_can_land(
    *, lands: bool, code: int
) -> None:
    store = LosesTheRequest()
    bench = Bench(store)
    expiry = {"expires_at": (NOW + timedelta(seconds=1)).isoformat()}
    request = bench.request("register", "c1", model="T", envelope=expiry)
    with pytest.raises(StoreUnavailable):
        await bench.handler.handle([request])
    bench.restart(late=60)
    bench.clock.advance(timedelta(seconds=2))
    [answer] = await bench.handler.handle([request])
    assert (answer.outcome.code, answer.outcome.retry_after_ms) == (503, 58_000)
    if lands:
        assert store.lost is not None
        await store.append(*store.lost)
    bench.clock.advance(timedelta(seconds=58))
    [answer] = await bench.handler.handle([request])
    assert (answer.outcome.code, answer.duplicate) == (code, lands)


class OnlyWhatIsAskedFor(MemoryOutcomes):
    """Promises no more than the port: up to the revision that is asked for."""

    async def find(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:
        found = await super().find(stream, revision, keys)
        return {key: one for key, one in found.items() if not one.events or one.events[0].revision <= revision}


async def test_an_expired_command_that_landed_behind_the_state_that_is_remembered_is_not_refused() -> None:
    store = LosesTheRequest()
    bench = Bench(store)
    bench.outcomes = OnlyWhatIsAskedFor(store)
    bench.restart()
    expiry = {"expires_at": (NOW + timedelta(seconds=1)).isoformat()}
    request = bench.request("register", "c1", model="T", envelope=expiry)
    with pytest.raises(StoreUnavailable):
        await bench.handler.handle([request])
    bench.restart(late=60)
    bench.clock.advance(timedelta(seconds=2))
    # remembered: there is no such device
    assert codes(await bench.handler.handle([request])) == [503]
    assert store.lost is not None
    await store.append(*store.lost)
    bench.clock.advance(timedelta(seconds=60))
    [answer] = await bench.handler.handle([request])
    assert (answer.outcome.code, answer.duplicate) == (201, True)


async def test_an_expired_command_without_an_id_of_its_own_is_no_copy_of_one_before_the_restart(bench: Bench) -> None:
    bench.restart(late=60)
    answer = await bench.send("register", model="T", envelope={"expires_at": (NOW - timedelta(1)).isoformat()})
    assert answer.outcome.code == 410


@pytest.mark.parametrize(("expected", "code"), [(0, 200), (1, 412), (-1, 412)])
async def test_the_expected_revision_must_match(bench: Bench, expected: int, code: int) -> None:
    await bench.send("register", "c1", model="T")
    answer = await bench.send("connect", "c2", envelope={"expected_revision": expected})
    assert answer.outcome.code == code
    assert answer.outcome.revision == (1 if code == 200 else 0)


async def test_a_dry_run_shows_the_events_and_leaves_nothing_behind(bench: Bench) -> None:
    dry = await bench.send("register", "c1", model="T", envelope={"dry_run": True})
    assert dry.outcome.code == 201
    [event] = dry.outcome.events
    assert isinstance(event.data, dict)
    assert event.data["model"] == "T"
    assert dry.outcome.position is None
    assert (await bench.send("connect", "c2", envelope={"dry_run": True})).outcome.code == 404
    assert await bench.types() == []
    assert not bench.outcomes.remembered
    assert (await bench.send("register", "c1", model="T")).outcome.code == 201


async def test_a_device_with_an_unreadable_event_takes_no_commands_and_others_go_on(bench: Bench) -> None:
    await bench.send("register", "c1", model="T")
    foreign = NewEvent(bench.request("connect", "x").key, "FromTheFuture", b"{}", b'{"v": 1}')
    await bench.store.append("device-p", 0, [foreign])
    bench.restart()
    answer = await bench.send("connect", "c2")
    assert answer.outcome.code == 500
    assert answer.outcome.error is not None
    assert answer.outcome.error.type == "device-degraded"
    assert not bench.outcomes.remembered  # an upgrade may understand it
    other = INTAKE.read_command(command("q", "q", "register", {"model": "T"}), NOW)
    assert codes(await bench.handler.handle([other])) == [201]


class Contended(MemoryStore):
    """Somebody else appends to the stream just before the next append."""

    rivals: list[NewEvent]

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        if self.rivals:
            await super().append(stream, expected, [self.rivals.pop()])
        return await super().append(stream, expected, events)


async def test_after_a_conflict_the_command_is_decided_again_on_the_new_state() -> None:
    store = Contended()
    store.rivals = []
    bench = Bench(store)
    await bench.send("register", "c1", model="T")
    suspend = bench.request("suspend", "rival", actor="alice")
    assert suspend.decider is not None
    assert suspend.command is not None
    known = await bench.handler.aggregates.load(suspend.decider, "device-p")
    decided = suspend.decider.decide(suspend.command, known.state, Context(NOW, "alice", Role.OPERATOR))
    store.rivals = CODEC.encode(decided, suspend, "gw2")
    assert (await bench.send("report", "c2", properties={"rpm": 1})).outcome.code == 422
    assert await bench.types() == ["DeviceRegistered", "DeviceSuspended"]


class LosesTheRequest(MemoryStore):
    """Of the first append nobody knows whether it will take effect."""

    lost: tuple[str, int, Sequence[NewEvent]] | None = None

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        if self.lost is None:
            self.lost = stream, expected, events
            raise StoreUnavailable("no answer")
        return await super().append(stream, expected, events)


class LosesTheReply(MemoryStore):
    """The append takes effect, but its reply does not arrive."""

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        await super().append(stream, expected, events)
        raise StoreUnavailable("connection lost")


async def test_an_append_whose_reply_was_lost_is_found_when_the_command_is_handled_again() -> None:
    bench = Bench(LosesTheReply())
    with pytest.raises(StoreUnavailable):
        await bench.send("register", "c1", model="T")
    again = await bench.send("register", "c1", model="T")
    assert again.duplicate
    assert again.outcome.code == 201
    assert await bench.types() == ["DeviceRegistered"]


async def test_long_streams_are_loaded_from_a_snapshot_and_what_came_after(bench: Bench) -> None:
    await bench.send("register", "c0", model="T")
    for number in range(1, 8):
        await bench.send("report", f"c{number}", properties={"rpm": number})
    snapshot = await bench.snapshots.load_snapshot("device-p")
    assert snapshot is not None
    assert snapshot.revision == 5
    bench.restart()
    unchanged = await bench.send("report", "c8", properties={"rpm": 7})
    assert unchanged.outcome.code == 204
    assert unchanged.outcome.revision == 7


async def test_a_snapshot_of_another_version_is_not_used(bench: Bench) -> None:
    await bench.send("register", "c0", model="T")
    [registered] = await bench.store.read_stream("device-p")
    await bench.snapshots.save_snapshot("device-p", Snapshot(0, registered.id, b"0.0.0\n{}"))
    bench.restart()
    assert (await bench.send("register", "c1", model="T")).outcome.code == 204
