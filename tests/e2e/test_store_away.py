"""The event store is away, at the start or in between: commands are parked, and take effect once, in order."""

import asyncio
import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import Broker
from tests.support.eventstoredb_process import EventStoreProcess
from tests.support.gateway_process import GatewayProcess, Sections
from tests.support.tcp_line import Direction
from tests.support.tcp_proxy import TcpProxy
from tests.support.technician import Body, Technician, technician

pytestmark = pytest.mark.embedded

MODEL = {"model": "T-1000"}
AT_ONCE = 5.0
"""Seconds, ten times the patience: a busy machine is slow."""

QUICK: Sections = {
    "event_store": {"patience": 0.5, "deadline": 1.0, "keepalive": 0.5},
    "outages": {"settle": 0.2},
}


class Plant:
    """A broker, a gateway and an event store, each a process of its own."""

    def __init__(self, directory: Path, settings: Sections = QUICK) -> None:
        self.store = EventStoreProcess(directory / "store")
        self.store.start()
        self.broker = Broker(directory / "broker")
        self.broker.start()
        event_store = {"url": self.store.url, **settings.get("event_store", {})}
        self.gateway = GatewayProcess(directory / "gateway", self.broker.port, {**settings, "event_store": event_store})

    def close(self) -> None:
        self.gateway.close()
        self.broker.stop()
        self.store.close()

    def parked(self) -> int:
        with closing(sqlite3.connect(f"file:{self.gateway.database}?mode=ro", uri=True)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM inbox").fetchone()
        return int(count)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    one = Plant(tmp_path)
    try:
        yield one
    finally:
        one.close()


async def report(tech: Technician, number: int, device: str = "p", **envelope: object) -> Body:
    """One report, published once; its first acknowledgement."""
    command_id = f"{device}-{number}"
    seen = len(tech.acks[command_id])
    body = {"command_id": command_id, "data": {"properties": {"count": number}}, **envelope}
    await tech.publish(f"cmd/{device}/{device}/report", body)
    return await tech.ack(command_id, seen, within=20)


def effects(plant: Plant, device: str = "p") -> list[Any]:
    return [event.metadata["command_id"] for event in plant.gateway.logged() if event.device == device]


async def test_the_gateway_starts_without_its_store_and_parks(plant: Plant) -> None:
    plant.store.kill()
    plant.gateway.start()
    async with technician(plant.broker.port) as tech:
        await tech.publish("cmd/p/p/register", {"command_id": "r", "data": MODEL})
        assert (await tech.ack("r", 0, within=20))["code"] == 202
        health = await tech.until("gateway/health", lambda health: health["parked"]["commands"] == 1)
        assert health["event_store"]["available"] is False
        assert health["event_store"]["reason"]
        plant.store.start()
        assert (await tech.final("r"))["code"] == 201
        await tech.until("gateway/health", lambda health: health["event_store"]["available"])
        await tech.until("state/p", lambda state: state["revision"] == 0)
    assert plant.gateway.log("event_store_away")
    assert plant.gateway.log("event_store_back")


async def test_what_was_parked_before_the_store_was_ever_there_is_told_in_the_feed(plant: Plant) -> None:
    plant.store.kill()
    plant.gateway.start()
    async with technician(plant.broker.port) as tech:
        await tech.watch("event/p/#")
        await tech.publish("cmd/p/p/register", {"command_id": "r", "data": MODEL})
        assert (await tech.ack("r", 0))["code"] == 202
        plant.store.start()
        await tech.first(lambda message: message.topic == "event/p/DeviceRegistered")


async def test_parked_commands_take_effect_once_in_order_and_ahead_of_newer_ones(plant: Plant) -> None:
    plant.gateway.start()
    async with technician(plant.broker.port) as tech:
        await tech.send("p", "p", "register", MODEL, id="r")
        plant.store.kill()
        assert [(await report(tech, number))["code"] for number in range(30)] == [202] * 30
        plant.store.start()
        newer = await report(tech, 30)
        assert newer["code"] in {200, 202}
        settled = [await tech.final(f"p-{number}") for number in range(31)]
        ledger = await tech.until("state/gw1", lambda state: "store" in state["counts"])
    assert [ack["revision"] for ack in settled] == list(range(1, 32))
    assert effects(plant) == ["r", *(f"p-{number}" for number in range(31))]
    assert [line["kind"] for line in ledger["outages"].values()] == ["store"]


async def test_a_kill_while_commands_are_parked_loses_none(plant: Plant) -> None:
    plant.gateway.start()
    async with technician(plant.broker.port) as tech:
        await tech.send("p", "p", "register", MODEL, id="r")
        plant.store.kill()
        for number in range(10):
            await report(tech, number)
        await asyncio.to_thread(plant.gateway.kill)
        await asyncio.to_thread(plant.gateway.start)
        assert (await report(tech, 10))["code"] == 202
        plant.store.start()
        settled = [await tech.final(f"p-{number}") for number in range(11)]
    assert [ack["code"] for ack in settled] == [200] * 11
    assert effects(plant) == ["r", *(f"p-{number}" for number in range(11))]


async def test_kills_while_parked_commands_are_settled_double_none(plant: Plant) -> None:
    plant.gateway.start()
    async with technician(plant.broker.port) as tech:
        await tech.send("p", "p", "register", MODEL, id="r")
        plant.store.kill()
        await asyncio.gather(*(report(tech, number) for number in range(200)))
        plant.store.start()
        for _ in range(4):
            await asyncio.to_thread(plant.gateway.kill)
            plant.gateway.launch()
            await tech.until("gateway/status", lambda status: status["state"] == "online")
        settled = [await tech.final(f"p-{number}") for number in range(200)]
    assert {ack["code"] for ack in settled} == {200}
    assert sorted(effects(plant)) == sorted(["r", *(f"p-{number}" for number in range(200))])


async def test_a_command_that_expires_while_it_is_parked_is_refused(plant: Plant) -> None:
    plant.gateway.start()
    async with technician(plant.broker.port) as tech:
        await tech.send("p", "p", "register", MODEL, id="r")
        plant.store.kill()
        await report(tech, 0)
        body = {"command_id": "late", "data": {"properties": {"count": 1}}, "expires_at": _in_seconds(1)}
        await tech.publish("cmd/p/p/report", body)
        assert (await tech.ack("late", 0, within=20))["code"] == 202
        await asyncio.sleep(1.1)  # the command's own clock runs
        plant.store.start()
        assert (await tech.final("late"))["code"] == 410
        assert (await tech.send("p", "p", "report", {"properties": {"count": 1}}, id="late"))["code"] in {409, 410}
    assert effects(plant) == ["r", "p-0"]


def _in_seconds(seconds: float) -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize("change", [{"read_only": True}, {"role": "starting"}])
async def test_a_store_that_is_there_but_does_not_serve_counts_as_away(plant: Plant, change: dict[str, Any]) -> None:
    plant.gateway.start()
    async with technician(plant.broker.port) as tech:
        await tech.send("p", "p", "register", MODEL, id="r")
        plant.store.change(**change)
        assert (await report(tech, 0))["code"] == 202
        plant.store.change(read_only=False, role="leader")
        assert (await tech.final("p-0"))["code"] == 200
    assert effects(plant) == ["r", "p-0"]


@pytest.mark.parametrize(
    "kind", ["commit_then_hang", "commit_then_unavailable", "commit_then_drop_connection", "unavailable_before_commit"]
)
async def test_an_append_whose_answer_is_lost_takes_effect_once(plant: Plant, kind: str) -> None:
    plant.gateway.start()
    async with technician(plant.broker.port) as tech:
        await tech.send("p", "p", "register", MODEL, id="r")
        plant.store.fault(kind, count=3, stream="device-*")
        for number in range(4):
            await report(tech, number)
        settled = [await tech.final(f"p-{number}") for number in range(4)]
    assert [(ack["code"], ack["revision"]) for ack in settled] == [(200, number + 1) for number in range(4)]
    assert effects(plant) == ["r", "p-0", "p-1", "p-2", "p-3"]


async def test_a_line_that_is_cut_again_and_again_loses_and_doubles_nothing(plant: Plant, tmp_path: Path) -> None:
    async with TcpProxy(plant.store.port) as line:
        event_store = {**QUICK["event_store"], "url": f"esdb://127.0.0.1:{line.port}?Tls=false"}
        gateway = GatewayProcess(tmp_path / "far", plant.broker.port, {"event_store": event_store})
        try:
            await asyncio.to_thread(gateway.start)
            async with technician(plant.broker.port) as tech:
                await tech.send("p", "p", "register", MODEL, id="r")
                for number in range(120):
                    if number % 6 == 0:
                        await line.reset()
                    await tech.publish("cmd/p/p/report", {"command_id": f"p-{number}", "data": _count(number)})
                    await asyncio.sleep(random.uniform(0, 0.03))
                settled = [await tech.final(f"p-{number}") for number in range(120)]
            logged = await asyncio.to_thread(gateway.logged)
        finally:
            await asyncio.to_thread(gateway.close)
    assert {ack["code"] for ack in settled} == {200}
    assert [event.metadata["command_id"] for event in logged] == ["r", *(f"p-{number}" for number in range(120))]


@pytest.mark.parametrize("fault", ["slow", "half-closed", "black hole"])
async def test_a_line_that_is_bad_for_a_while_loses_and_doubles_nothing(
    plant: Plant, tmp_path: Path, fault: str
) -> None:
    async with TcpProxy(plant.store.port) as line:
        event_store = {**QUICK["event_store"], "url": f"esdb://127.0.0.1:{line.port}?Tls=false"}
        gateway = GatewayProcess(tmp_path / "far", plant.broker.port, {"event_store": event_store})
        try:
            await asyncio.to_thread(gateway.start)
            async with technician(plant.broker.port) as tech:
                await tech.send("p", "p", "register", MODEL, id="r")
                match fault:
                    case "slow":
                        line.slow(latency=0.2)
                    case "half-closed":
                        line.half_close(Direction.TO_CLIENT)
                    case _:
                        line.black_hole()
                for number in range(10):
                    await report(tech, number)
                line.heal()
                settled = [await tech.final(f"p-{number}") for number in range(10)]
            logged = await asyncio.to_thread(gateway.logged)
        finally:
            await asyncio.to_thread(gateway.close)
    assert {ack["code"] for ack in settled} == {200}
    assert [event.metadata["command_id"] for event in logged] == ["r", *(f"p-{number}" for number in range(10))]


def _count(number: int) -> Body:
    return {"properties": {"count": number}}


async def test_a_device_that_floods_neither_delays_nor_costs_another_while_the_store_is_away(tmp_path: Path) -> None:
    plant = Plant(tmp_path, {**QUICK, "limits": {"parked_per_actor": 50, "commands_per_second": 0.0}})
    loop = asyncio.get_running_loop()
    try:
        plant.gateway.start()
        async with technician(plant.broker.port) as tech:
            await tech.send("calm", "calm", "register", MODEL)
            await tech.send("loud", "loud", "register", MODEL)
            plant.store.kill()
            await report(tech, 0, "loud")
            began = loop.time()
            flood = [asyncio.create_task(report(tech, number, "loud")) for number in range(1, 400)]
            assert (await report(tech, 0, "calm"))["code"] == 202
            calm_waited = loop.time() - began
            codes = [(await one)["code"] for one in flood]
            loud_waited = loop.time() - began
            assert codes.count(202) == 49
            assert codes.count(503) == 350
            # once it is known that the store is away, nobody waits for it any more
            assert calm_waited < AT_ONCE
            assert loud_waited < 2 * AT_ONCE
            plant.store.start()
            assert (await tech.final("calm-0"))["code"] == 200
    finally:
        plant.close()


async def test_two_gateways_on_one_store_see_each_other_and_double_nothing(plant: Plant, tmp_path: Path) -> None:
    other = GatewayProcess(
        tmp_path / "other",
        plant.broker.port,
        {"gateway": {"id": "gw2"}, "mqtt": {"root": "edge/gw2"}, "event_store": {"url": plant.store.url}},
    )
    try:
        plant.gateway.start()
        other.launch()
        while not other.log("link_connected"):
            await asyncio.sleep(0.05)
        async with technician(plant.broker.port) as tech:
            await tech.send("p", "p", "register", MODEL, id="r")
            await asyncio.gather(*(report(tech, number) for number in range(40)), *_elsewhere(plant, 40))
            await tech.until("state/p", lambda state: state["revision"] == 80)
        seen = await asyncio.to_thread(other.run, "device", "p", "--json")
        assert json.loads(seen.stdout)["revision"] == 80
        logged = effects(plant)
        assert len(logged) == len(set(logged)) == 81
    finally:
        other.close()


def _elsewhere(plant: Plant, count: int) -> list[Any]:
    """The same device's commands, through the other gateway; each sent twice, and one of the first gateway's ids."""

    async def send(number: int) -> None:
        body = json.dumps({"command_id": f"e-{number}", "data": {"properties": {"other": number}}})
        command = [
            "mosquitto_pub",
            "-p",
            str(plant.broker.port),
            "-q",
            "1",
            "-t",
            "edge/gw2/cmd/p/p/report",
            "-m",
            body,
        ]
        for _copy in range(2):
            process = await asyncio.create_subprocess_exec(*command)
            assert await process.wait() == 0

    return [send(number) for number in range(count)]
