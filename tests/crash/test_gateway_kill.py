"""The gateway, and a store of its own, are killed again and again under load; nothing is lost, doubled or reordered."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from tinydb import TinyDB

from tests.support.chosen_store import CHOSEN, EMBEDDED
from tests.support.event_log import LoggedEvent
from tests.support.gateway_process import GatewayProcess
from tests.support.judge import Sent, faults
from tests.support.site import Site, site
from tests.support.technician import Body, Technician, retained

KILLS = 22
FLEET = [f"pump-{number}" for number in range(6)]
OPERATOR = "alice"
IN_FLIGHT = 5
PACE = 0.03
AGAIN_AFTER = 1.0
PATIENCE = 60
COPY_ONE_IN = 10
PARKED = 202

CommandAt = Callable[[str, int], Sent]


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as one:
        yield one


@pytest.mark.timeout(180)
async def test_kills_at_any_moment_lose_nothing_and_double_nothing(
    own_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = own_site.gateway
    async with own_site.technician() as tech:
        await asyncio.gather(tech.watch("event/#"), tech.watch("state/#"))
        sent = await _run(tech, gateway)
        log = gateway.logged()
        await _told_of(tech, log)
        acks = {command_id: _final([ack.body for ack in acks]) for command_id, acks in tech.acks.items()}
    duplicates = sum(ack["duplicate"] for copies in acks.values() for ack in copies)
    with capsys.disabled():
        print(f"\n{KILLS} kills, {len(sent)} commands, {len(log)} events, {duplicates} duplicates")  # noqa: T201 - the summary

    assert await asyncio.to_thread(gateway.terminate) == 0
    assert faults(sent, acks, gateway.logged(), gapless=CHOSEN == EMBEDDED) == []
    verified = await asyncio.to_thread(gateway.run, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    told = await retained(own_site.broker.port, "state/#")
    assert {message.body["id"]: message.body for message in told.values()} == _cached(gateway)


async def _run(tech: Technician, gateway: GatewayProcess) -> list[Sent]:
    """Send from all sides while the gateway is killed; every command is acknowledged at the end."""
    sent: list[Sent] = []
    stop = asyncio.Event()
    for device in FLEET:
        registration = Sent(device, device, "register", f"{device}-register", {"model": "T-1000"}, 201)
        sent.append(registration)
        await _settle(tech, registration)
    async with asyncio.TaskGroup() as group:
        for device in FLEET:
            for command_at in (_of_device, _of_operator):
                group.create_task(_send(tech, command_at, device, sent, stop))
        try:
            for _ in range(KILLS):
                await _kill(gateway)
        finally:
            stop.set()
    return sent


async def _kill(gateway: GatewayProcess) -> None:
    await asyncio.sleep(random.uniform(0, 0.8))
    store = gateway.store.process
    if store is not None and random.randrange(2):
        await asyncio.to_thread(store.kill)
        await asyncio.sleep(random.uniform(0, 0.8))
        await asyncio.to_thread(store.start)
        return
    await asyncio.to_thread(gateway.kill)
    gateway.launch()
    # every third time the next kill finds it starting, or catching up with what this one left
    if random.randrange(3):
        await asyncio.to_thread(gateway.wait_online)


async def _send(tech: Technician, command_at: CommandAt, device: str, sent: list[Sent], stop: asyncio.Event) -> None:
    """One sender's commands for one device, a few of them under way at once, until told to stop."""
    window = asyncio.Semaphore(IN_FLIGHT)

    async def settle(one: Sent) -> None:
        await _settle(tech, one)
        window.release()

    async with asyncio.TaskGroup() as group:
        for number in count():
            await window.acquire()
            if stop.is_set():
                return
            one = command_at(device, number)
            sent.append(one)
            # the first copies go out in order; only then does a task of its own repeat it
            await tech.publish(_topic(one), _body(one))
            group.create_task(settle(one))
            await asyncio.sleep(random.uniform(0, PACE))


async def _settle(tech: Technician, one: Sent) -> None:
    """Repeat a command until it is acknowledged, and some of them once more."""
    for _ in range(PATIENCE):
        try:
            await _settled(tech, one.id)
            break
        except TimeoutError:
            await tech.publish(_topic(one), _body(one))
    if not random.randrange(COPY_ONE_IN):
        await tech.publish(_topic(one), _body(one))


async def _settled(tech: Technician, command_id: str) -> None:
    """Wait until a command has an answer that settles it: it may be parked before."""
    async with asyncio.timeout(AGAIN_AFTER):
        index = 0
        while not _final([await tech.ack(command_id, index)]):
            index += 1


def _final(acks: Sequence[Body]) -> list[Body]:
    """The answers that settle a command. With the embedded store, all of them have to."""
    return [ack for ack in acks if CHOSEN == EMBEDDED or ack["code"] != PARKED]


def _of_device(device: str, number: int) -> Sent:
    """Mostly reports, each of which changes something; some commands that change nothing or are refused."""
    command_id = f"{device}-d{number}"
    match number % 10:
        case 3:
            return Sent(device, device, "clear-alarm", command_id, {"code": "never_raised"}, 204)
        case 7:
            return Sent(device, device, "suspend", command_id, {}, 403)
        case _:
            return Sent(device, device, "report", command_id, {"properties": {"count": number}}, 200)


def _of_operator(device: str, number: int) -> Sent:
    """Configurations, each another one; and acknowledgements of an alarm that nobody raised."""
    command_id = f"{device}-o{number}"
    if number % 10 == 5:
        return Sent(OPERATOR, device, "acknowledge-alarm", command_id, {"code": "never_raised"}, 422)
    return Sent(OPERATOR, device, "configure", command_id, {"properties": {"rpm": number}}, 200)


def _topic(one: Sent) -> str:
    return f"cmd/{one.actor}/{one.device}/{one.command}"


def _body(one: Sent) -> Body:
    return {"command_id": one.id, "data": one.data}


async def _told_of(tech: Technician, log: Sequence[LoggedEvent]) -> None:
    """Wait until the newest state and every event of this log have been published."""
    for device, revision in {event.device: event.revision for event in log}.items():
        await tech.until(f"state/{device}", partial(_is_at, revision))
    await tech.first(lambda message: message.body.get("id") == log[-1].id)
    told = {message.body["id"] for message in tech.received if message.topic.startswith("event/")}
    assert told == {event.id for event in log}


def _is_at(revision: int, state: Body) -> bool:
    return bool(state["revision"] == revision)


def _cached(gateway: GatewayProcess) -> dict[str, Body]:
    with TinyDB(gateway.cache, access_mode="r") as cache:
        return {document["id"]: dict(document) for document in cache.table("devices").all()}
