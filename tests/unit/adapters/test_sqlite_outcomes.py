from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.adapters.sqlite import Database, open_database
from gateway.adapters.sqlite_log import SqliteLog
from gateway.adapters.sqlite_outcomes import SqliteOutcomes
from gateway.adapters.sqlite_reader import open_read_only
from gateway.ids import event_id, new_id
from gateway.messages import NO_STREAM, NewEvent, Outcome, Verdict
from tests.support.new_events import DIGEST, RECEIVED_AT, events_of_command


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(tmp_path / "gateway.db") as database:
        yield database


def refused(command_id: str, actor: str, device: str) -> Verdict:
    outcome = Outcome(422, DIGEST, RECEIVED_AT - timedelta(hours=1), persisted_at=RECEIVED_AT)
    return Verdict(event_id(actor, device, command_id, 0), command_id, actor, device, "report", outcome)


async def test_a_bare_command_id_finds_accepted_and_refused_commands_of_every_actor(
    database: Database, tmp_path: Path
) -> None:
    log, outcomes = SqliteLog(database), SqliteOutcomes(database)
    for device in ("pump-7", "pump-8"):
        await log.append(f"device-{device}", NO_STREAM, events_of_command("c1", device=device, count=3))
    await outcomes.remember([refused("c1", "bob", "pump-7"), refused("c2", "bob", "pump-7")])

    verdicts, behind = await outcomes.find_by_command_id("c1")

    assert behind is None
    oldest_first = sorted(verdicts, key=lambda verdict: verdict.outcome.received_at)
    assert [(v.command_id, v.actor, v.device, v.command, v.outcome.code) for v in oldest_first] == [
        ("c1", "bob", "pump-7", "report", 422),
        *[("c1", "alice", device, "configure", 201) for device in sorted(["pump-7", "pump-8"], key=_key_order)],
    ]
    assert [len(verdict.outcome.events) for verdict in oldest_first] == [0, 3, 3]
    assert {v.key: v.outcome for v in verdicts} == await outcomes.find(
        "device-pump-7", 1_000, [v.key for v in verdicts]
    )
    with open_read_only(tmp_path / "gateway.db") as reader:
        assert reader.find_by_command_id("c1") == (verdicts, None)


def _key_order(device: str) -> bytes:
    return event_id("alice", device, "c1", 0).bytes


async def test_a_command_id_that_shares_its_range_with_another_finds_only_its_own(database: Database) -> None:
    one = new_id()
    # same first half, so that both have the same range of event ids
    other = one[:19] + "a000-000000000000"[-17:]
    assert one != other
    log, outcomes = SqliteLog(database), SqliteOutcomes(database)
    await log.append("device-pump-7", NO_STREAM, [*events_of_command(one, count=2), *events_of_command(other)])
    await outcomes.remember([refused(one, "bob", "pump-7"), refused(other, "bob", "pump-7")])

    verdicts, _ = await outcomes.find_by_command_id(other)

    assert {(v.command_id, v.actor, len(v.outcome.events)) for v in verdicts} == {
        (other, "bob", 0),
        (other, "alice", 1),
    }


async def test_an_unknown_command_id_finds_nothing(database: Database) -> None:
    assert await SqliteOutcomes(database).find_by_command_id("c1") == ([], None)


async def test_a_foreign_event_under_a_commands_key_troubles_nobody_else(database: Database) -> None:
    log, outcomes = SqliteLog(database), SqliteOutcomes(database)
    foreign = NewEvent(event_id("alice", "pump-8", "c1", 0), "Foreign", b"{}", b"no metadata")
    await log.append("device-pump-8", NO_STREAM, [foreign])
    (known,) = events_of_command("c1")
    await log.append("device-pump-7", NO_STREAM, [known])

    asked, beside = (
        outcomes.find("device-pump-7", 1_000, [foreign.id]),
        outcomes.find("device-pump-7", 1_000, [known.id]),
    )

    with pytest.raises(KeyError):
        await asked
    assert set(await beside) == {known.id}
