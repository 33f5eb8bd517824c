from collections.abc import Sequence

import pytest

from gateway.domain.decider import Context, Role
from gateway.errors import StorageFull, StoreUnavailable
from gateway.messages import (
    Appended,
    NewEvent,
    Snapshot,
    Verdict,
)
from tests.support.delivery import command
from tests.support.handler_bench import CODEC, INTAKE, NOW, Bench, codes
from tests.support.memory_outcomes import MemoryOutcomes
from tests.support.memory_store import MemoryStore

HOT = {"code": "hot", "severity": "info"}


@pytest.fixture(params=[False, True], ids=["looked up before", "told by the append"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(append_tells=request.param)


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
