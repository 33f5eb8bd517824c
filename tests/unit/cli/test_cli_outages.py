import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.sqlite import DATABASE_FILE, open_database
from gateway.adapters.sqlite_log import SqliteLog
from gateway.adapters.sqlite_outages import SqlitePendingOutages
from gateway.codec import EventCodec
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Event
from gateway.domain.outages import GATEWAY, OutageAcknowledged, OutageKind, OutageRecorded
from gateway.messages import NO_STREAM, PendingOutage
from tests.support.command_line import Run
from tests.support.gateway_state import AT, GatewayState
from tests.support.requests import REQUEST


def recorded(outage: str, kind: OutageKind) -> OutageRecorded:
    return OutageRecorded(at=AT, outage=outage, kind=kind, began_at=AT, ended_at=AT + timedelta(seconds=9), cause="c")


async def _prepare(directory: Path, events: list[Event]) -> None:
    async with open_database(directory / DATABASE_FILE) as database:
        await SqliteLog(database).append(
            "gateway-gw1", NO_STREAM, EventCodec(Catalogue([GATEWAY])).encode(events, REQUEST, "gw1")
        )
        await SqlitePendingOutages(database).keep(PendingOutage("o4", "broker", AT, cause="refused"))


@pytest.fixture
def ledger(state: GatewayState) -> GatewayState:
    """Three outages that are recorded, of which one is acknowledged and one has to be; and one that goes on."""
    known = OutageAcknowledged(at=AT, outage="o1", by="alice", note="seen")
    events = [recorded("o1", "session"), recorded("o2", "session"), recorded("o3", "store"), known]
    asyncio.run(_prepare(state.directory, events))
    return state


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("options", "outages"),
    [((), ["o1", "o2", "o3", "o4"]), (("--limit", "2"), ["o3", "o4"]), (("--open",), ["o2", "o4"])],
)
def test_outages_are_listed_recorded_ones_first(on_state: Run, options: tuple[str, ...], outages: list[str]) -> None:
    assert [line["outage"] for line in on_state("outages", "--json", *options).objects] == outages


def test_those_that_the_ledger_no_longer_showed_are_acknowledged_with_all_that_wait(
    state: GatewayState, on_state: Run
) -> None:
    known = OutageAcknowledged(at=AT, outage="", by="alice", note="seen", older=1)
    events = [recorded("o1", "session"), recorded("o2", "store"), known, recorded("o3", "session")]
    asyncio.run(_prepare(state.directory, events))
    lines = {line["outage"]: line["acknowledged_by"] for line in on_state("outages", "--json").objects}
    assert lines == {"o1": "alice", "o2": None, "o3": None, "o4": None}


@pytest.mark.usefixtures("ledger")
def test_a_line_tells_all_of_an_outage(on_state: Run) -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in on_state("outages", "--json").out.splitlines()]
    assert lines[0] == {
        "outage": "o1",
        "kind": "session",
        "began_at": "2026-03-01T12:00:00.123456Z",
        "ended_at": "2026-03-01T12:00:09.123456Z",
        "times": 1,
        "cause": "c",
        "affected": "",
        "acknowledged_by": "alice",
        "acknowledged_at": "2026-03-01T12:00:00.123456Z",
        "note": "seen",
    }
    assert (lines[3]["ended_at"], lines[3]["cause"]) == (None, "refused")


@pytest.mark.usefixtures("ledger")
def test_for_people_it_is_a_table(on_state: Run) -> None:
    heading, first, *_ = on_state("outages").out.splitlines()
    assert heading.split()[:4] == ["began", "at", "ended", "at"]
    assert first.split()[2:4] == ["session", "1"]


def test_without_outages_there_is_only_the_heading(on_state: Run) -> None:
    assert len(on_state("outages").out.splitlines()) == 1


@pytest.mark.usefixtures("ledger")
def test_the_gateway_is_not_among_the_devices(on_state: Run) -> None:
    assert on_state("devices", "--json").objects == []
