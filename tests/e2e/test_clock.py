"""The wall clock is set while the gateway runs, and between two runs: nothing waits for it, nothing is lost by it."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.settable_clock import GatewayWithClock
from tests.support.site import Site
from tests.support.technician import Body, Technician

HOURS = timedelta(hours=5)
RATE, BURST = 1.0, 20
TOO_FAST = 429
pytestmark = pytest.mark.embedded

MODEL = {"model": "T-1000"}


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[tuple[Site, GatewayWithClock]]:
    broker = Broker(tmp_path / "broker")
    gateway = GatewayWithClock(
        tmp_path / "gateway",
        broker.port,
        {"limits": {"commands_per_second": RATE, "burst": BURST}, "outages": {"settle": 0.2}},
    )
    try:
        broker.start()
        gateway.start()
        yield Site(broker, gateway), gateway
    finally:
        gateway.close()
        broker.stop()


def ahead(of: datetime) -> timedelta:
    """How far the clock is ahead that shows this time."""
    return of - datetime.now(UTC)


CLOCKS = {
    "in 1970": ahead(datetime(1970, 1, 1, 0, 1, tzinfo=UTC)),
    "hours back": -HOURS,
    "hours ahead": HOURS,
    "in 2100": ahead(datetime(2100, 1, 1, tzinfo=UTC)),
}


async def _send_without_id(tech: Technician, number: int) -> Body:
    """The gateway makes the id, from its clock."""
    known = set(tech.acks)
    await tech.publish("cmd/pump-1/pump-1/report", {"properties": {"m": number}})
    async with asyncio.timeout(10):
        while not (new := tech.acks.keys() - known):
            await asyncio.sleep(0.01)
    return await tech.ack(new.pop())


def _is_about(told: str, expected: datetime) -> bool:
    return abs(datetime.fromisoformat(told) - expected) < timedelta(minutes=1)


@pytest.mark.parametrize("clock", CLOCKS)
async def test_a_clock_that_is_set_and_set_back_stops_nothing_and_leaves_the_order_alone(
    clocked: tuple[Site, GatewayWithClock], clock: str
) -> None:
    site, gateway = clocked
    there = CLOCKS[clock]
    async with site.technician() as tech:
        acks = [await tech.send("pump-1", "pump-1", "register", MODEL)]
        for number, offset in enumerate((there, timedelta())):
            gateway.set_clock(offset)
            data = {"properties": {"n": number}}
            acks.append(await tech.send("pump-1", "pump-1", "report", data, id=f"c-{number}", wait_for="projected"))
            acks.append(await _send_without_id(tech, number))
            health = await tech.next_live("gateway/health")
            assert _is_about(health["at"], datetime.now(UTC) + offset)
        copy = await tech.send("pump-1", "pump-1", "report", {"properties": {"n": 0}}, id="c-0")
        state = await tech.until("state/pump-1", lambda state: state["revision"] == len(acks) - 1)
    assert [(ack["status"], ack["revision"]) for ack in acks] == [("accepted", number) for number in range(5)]
    assert all(one["position"] < other["position"] for one, other in pairwise(acks))
    assert _is_about(acks[1]["persisted_at"], datetime.now(UTC) + there), "times are those of the clock, right or wrong"
    assert (copy["duplicate"], copy["persisted_at"]) == (True, acks[1]["persisted_at"])
    assert _is_about(state["updated_at"], datetime.now(UTC))


async def test_a_jump_of_the_clock_is_in_the_ledger(clocked: tuple[Site, GatewayWithClock]) -> None:
    site, gateway = clocked
    async with site.technician() as tech:
        await tech.send("pump-1", "pump-1", "register", MODEL)
        gateway.set_clock(HOURS)
        ledger = await tech.until("state/gw1", lambda state: "clock" in state["counts"], within=20)
        (outage,) = ledger["outages"].values()
    assert outage["kind"] == "clock"
    assert "+18000" in outage["cause"]
    assert _is_about(outage["ended_at"], datetime.now(UTC) + HOURS)


@pytest.mark.parametrize("offset", [-HOURS, HOURS])
async def test_a_clock_that_is_set_neither_frees_nor_binds_who_sends_too_fast(
    clocked: tuple[Site, GatewayWithClock], offset: timedelta
) -> None:
    site, gateway = clocked
    async with site.technician() as tech:
        await tech.send("pump-1", "pump-1", "register", MODEL)
        for number in range(BURST):
            await tech.publish("cmd/pump-1/pump-1/report", {"command_id": f"c-{number}"})
        await tech.ack(f"c-{BURST - 1}")
        gateway.set_clock(offset)
        refused = await tech.send("pump-1", "pump-1", "connect", id="c-again")
        await asyncio.sleep(refused["retry_after_ms"] / 1_000)
        again = await tech.send("pump-1", "pump-1", "connect", id="c-again")
    assert refused["code"] == TOO_FAST
    assert 0 < refused["retry_after_ms"] <= 1_000 / RATE
    assert again["code"] == 200


async def test_an_expiry_is_judged_by_the_clock_as_it_is_and_the_refusal_stays(
    clocked: tuple[Site, GatewayWithClock],
) -> None:
    site, gateway = clocked
    expires = (datetime.now(UTC) + HOURS / 2).isoformat()
    async with site.technician() as tech:
        await tech.send("pump-1", "pump-1", "register", MODEL)
        gateway.set_clock(HOURS)
        late = await tech.send("pump-1", "pump-1", "connect", id="c-1", expires_at=expires)
        gateway.set_clock(timedelta())
        copy = await tech.send("pump-1", "pump-1", "connect", id="c-1", expires_at=expires)
        other = await tech.send("pump-1", "pump-1", "connect", id="c-2", expires_at=expires)
    assert (late["code"], copy["code"], copy["duplicate"]) == (410, 410, True)
    assert other["code"] == 200


async def test_a_refusal_is_not_forgotten_because_the_clock_was_wrong_for_a_while(
    clocked: tuple[Site, GatewayWithClock],
) -> None:
    site, gateway = clocked
    async with site.technician() as tech:
        refused = await tech.send("pump-1", "pump-1", "connect", id="c-1")
        for offset in (timedelta(days=31), -HOURS):
            assert await asyncio.to_thread(gateway.terminate) == 0
            gateway.set_clock(offset)
            await asyncio.to_thread(gateway.start)
            await tech.send("pump-1", "pump-1", "register", MODEL, id="c-register")
            copy = await tech.send("pump-1", "pump-1", "connect", id="c-1")
            assert (copy["code"], copy["duplicate"]) == (refused["code"], True)
    assert refused["status"] == "rejected"
