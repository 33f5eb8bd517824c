"""A cluster of event stores under the gateway: leaders step down and die, and every command takes effect once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.eventstoredb.cluster import Cluster, cluster
from tests.support.gateway_process import GatewayProcess
from tests.support.technician import Technician, technician

pytestmark = pytest.mark.embedded

DEVICES = ("pump-1", "pump-2", "pump-3")
CHANGES = 6
COMMANDS = 12
MIDDLE = 4


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    one = Broker(tmp_path / "broker")
    one.start()
    yield one
    one.stop()


async def test_leaders_that_step_down_and_die_under_load_cost_nothing(broker: Broker, tmp_path: Path) -> None:
    async with cluster() as nodes:
        event_store = {"url": nodes.url, "patience": 0.5, "deadline": 1.0}
        gateway = GatewayProcess(tmp_path / "gateway", broker.port, {"event_store": event_store})
        try:
            await asyncio.to_thread(gateway.start)
            async with technician(broker.port) as tech:
                for device in DEVICES:
                    await tech.send(device, device, "register", {"model": "T-1000"})
                for change in range(CHANGES):
                    await _load_while_the_leader_changes(tech, nodes, change)
                revision = CHANGES * COMMANDS
                for device in DEVICES:
                    await tech.until(f"state/{device}", lambda state: state["revision"] == revision)
            logged = await asyncio.to_thread(gateway.logged)
        finally:
            await asyncio.to_thread(gateway.close)

    for device in DEVICES:
        commands = [event.metadata["command_id"] for event in logged if event.device == device]
        assert commands[1:] == [_id(device, number) for number in range(revision)]


async def _load_while_the_leader_changes(tech: Technician, nodes: Cluster, change: int) -> None:
    """Every other time the old leader dies, and comes back as a follower."""
    leader, dies = nodes.leader, change % 2 == 1
    for number in range(COMMANDS):
        for device in DEVICES:
            count = change * COMMANDS + number
            body = {"command_id": _id(device, count), "data": {"properties": {"count": count}}}
            await tech.publish(f"cmd/{device}/{device}/report", body)
        if number == MIDDLE:
            if dies:
                await nodes.stop(leader)
            nodes.lead((leader + 1) % len(nodes.nodes))
    for device in DEVICES:
        for number in range(change * COMMANDS, (change + 1) * COMMANDS):
            assert (await tech.final(_id(device, number)))["code"] == 200
    if dies:
        await nodes.start(leader)


def _id(device: str, number: int) -> str:
    return f"{device}-{number}"
