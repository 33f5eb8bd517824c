import asyncio
from datetime import UTC, datetime
from typing import cast

import pytest

from gateway.heartbeats import Heartbeats
from gateway.parking import Parking
from gateway.supervision import BEATS, INTERVAL, Supervision, interval, status_line
from tests.support.recording_supervisor import RecordingSupervisor

AT = datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC)


class Hearts:
    """As many times there as this says, then missing."""

    def __init__(self, beats: int) -> None:
        self.beats = beats
        self.missing: tuple[str, ...] = ()

    async def all_there(self) -> bool:
        self.beats -= 1
        self.missing = () if self.beats >= 0 else ("projector",)
        return not self.missing


class Parked:
    """What a status line tells of parked commands."""

    def __init__(self, count: int = 0, since: datetime | None = None) -> None:
        self.count = count
        self.since = since


def line(*, connected: bool = True, lost_at: datetime | None = None, parked: Parked, catching_up: bool = False) -> str:
    return status_line(connected=connected, lost_at=lost_at, parking=cast("Parking", parked), catching_up=catching_up)


async def told(hearts: Hearts, supervisor: RecordingSupervisor, beats: int) -> list[str]:
    """What it hears until it is asked for the status so many times."""
    asked = 0
    enough = asyncio.Event()

    def status() -> str:
        nonlocal asked
        asked += 1
        if asked > beats:
            enough.set()
        return "fine"

    running = asyncio.create_task(Supervision(supervisor, cast("Heartbeats", hearts), status).run())
    await enough.wait()
    running.cancel()
    await asyncio.wait((running,))
    return supervisor.heard


async def test_it_is_ready_at_once_and_fed_from_then_on_and_a_status_is_told_when_it_changes() -> None:
    heard = await told(Hearts(10), RecordingSupervisor(watchdog=0.003), 2)
    assert heard[:4] == ["ready", "alive", "fine", "alive"]
    assert heard.count("fine") == 1


async def test_the_watchdog_starves_while_a_heartbeat_is_missing_and_the_status_names_it() -> None:
    heard = await told(Hearts(1), RecordingSupervisor(watchdog=0.003), 4)
    assert heard == ["ready", "alive", "fine", "STUCK: projector; fine"]


@pytest.mark.parametrize(("watchdog", "seconds"), [(None, INTERVAL), (3.0, 3.0 / BEATS), (3_600.0, INTERVAL)])
def test_the_watchdog_is_fed_several_times_in_the_time_that_it_waits(watchdog: float | None, seconds: float) -> None:
    assert interval(watchdog) == seconds


def test_the_status_tells_what_is_there() -> None:
    assert line(parked=Parked()) == "broker connected; event store there"


def test_the_status_tells_what_is_away_and_since_when_and_what_waits() -> None:
    assert line(connected=False, lost_at=AT, parked=Parked(3, AT), catching_up=True) == (
        "broker away since 2026-03-01 12:00:07 UTC; event store away since 2026-03-01 12:00:07 UTC; "
        "3 commands parked; read cache catching up"
    )


def test_a_broker_that_never_was_there_is_away_since_no_time() -> None:
    assert line(connected=False, parked=Parked()) == "broker away; event store there"
