"""A broker that is away, at the start or later, heals without a restart of the gateway."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.gateway_process import GatewayProcess
from tests.support.site import Site
from tests.support.technician import technician

MODEL = {"model": "T-1000"}


async def test_a_gateway_that_starts_before_its_broker_waits_for_it(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    gateway = GatewayProcess(tmp_path / "gateway", broker.port)
    try:
        gateway.launch()
        await _until(lambda: bool(gateway.log("link_lost")))
        broker.start()
        gateway.wait_online()
        async with technician(broker.port) as tech:
            assert (await tech.send("pump-1", "pump-1", "register", MODEL))["code"] == 201
    finally:
        gateway.close()
        broker.stop()


@pytest.mark.parametrize("end", [Broker.stop, Broker.kill])
async def test_a_broker_that_comes_back_is_served_again(own_site: Site, end: Callable[[Broker], None]) -> None:
    async with own_site.technician() as tech:
        await tech.send("pump-1", "pump-1", "register", MODEL, id="c-1")
    end(own_site.broker)
    own_site.broker.start()
    await asyncio.to_thread(own_site.gateway.wait_online)
    async with own_site.technician() as tech:
        assert (await tech.send("pump-1", "pump-1", "register", MODEL, id="c-1"))["duplicate"] is True
        assert (await tech.send("pump-1", "pump-1", "connect"))["code"] == 200


async def test_a_broker_that_dies_under_load_is_served_again(own_site: Site) -> None:
    reports = [(f"c-{count}", {"properties": {"count": count}}) for count in range(500)]
    async with own_site.technician() as tech:
        await tech.send("pump-1", "pump-1", "register", MODEL)
        bodies = [{"command_id": command_id, "data": data} for command_id, data in reports]
        await asyncio.gather(*(tech.publish("cmd/pump-1/pump-1/report", body) for body in bodies))
        await tech.ack("c-50")
    own_site.broker.kill()
    own_site.broker.start()
    await asyncio.to_thread(own_site.gateway.wait_online)
    async with own_site.technician() as tech:
        # the broker has lost what was queued, so the sender repeats it
        acks = [await tech.send("pump-1", "pump-1", "report", data, id=command_id) for command_id, data in reports]
    assert [ack["revision"] for ack in acks] == list(range(1, 501))


async def test_commands_sent_while_the_gateway_is_away_are_settled_when_it_is_back(own_site: Site) -> None:
    async with own_site.technician() as tech:
        await tech.send("pump-1", "pump-1", "register", MODEL)
        await asyncio.to_thread(own_site.gateway.terminate)
        for count in range(50):
            body = {"command_id": f"c-{count}", "data": {"properties": {"count": count}}}
            await tech.publish("cmd/pump-1/pump-1/report", body)
        await asyncio.to_thread(own_site.gateway.start)
        acks = [await tech.ack(f"c-{count}") for count in range(50)]
    assert [(ack["code"], ack["revision"]) for ack in acks] == [(200, count + 1) for count in range(50)]


async def test_a_command_whose_message_expires_in_the_brokers_queue_has_no_effect(own_site: Site) -> None:
    async with own_site.technician() as tech:
        await tech.send("pump-1", "pump-1", "register", MODEL)
        await asyncio.to_thread(own_site.gateway.terminate)
        topic = "cmd/pump-1/pump-1/report"
        await tech.publish(topic, {"command_id": "late", "data": {"properties": {"rpm": 1}}}, expiry=1)
        await asyncio.sleep(2)  # it is the passing of time that is tested
        await tech.publish(topic, {"command_id": "next", "data": {"properties": {"rpm": 2}}})
        await asyncio.to_thread(own_site.gateway.start)
        assert (await tech.ack("next"))["revision"] == 1
        assert not tech.acks["late"]


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)
