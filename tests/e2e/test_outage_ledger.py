"""What the gateway went through: in its own stream, on the command line, over MQTT, until somebody has seen to it."""

import asyncio
import json
from pathlib import Path

from tests.support.asking import ask
from tests.support.broker import Broker
from tests.support.gateway_process import GatewayProcess
from tests.support.technician import technician

SETTINGS = {"outages": {"settle": 0.2}, "mqtt": {"backoff_max": 0.3}, "health": {"interval": 0.2}}


async def test_a_crash_and_a_lost_session_are_recorded_and_the_session_waits_for_an_operator(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    broker.start()
    gateway = GatewayProcess(tmp_path / "gateway", broker.port, SETTINGS)
    try:
        await asyncio.to_thread(gateway.start)
        gateway.kill()
        await asyncio.to_thread(gateway.start)
        broker.stop()
        broker.forget()
        broker.start()
        await asyncio.to_thread(gateway.wait_online)
        async with technician(broker.port) as tech:
            ledger = await tech.until(
                "state/gw1", lambda state: state.get("counts") == {"crash": 1, "broker": 1, "session": 1}
            )
            (outage,) = ledger["unacknowledged"]
            assert ledger["unacknowledged"][outage]["kind"] == "session"
            assert [line["kind"] for line in await asyncio.to_thread(_ledger, gateway, "--open")] == ["session"]
            asked = (await ask(tech, "alice", "outages"))["result"]
            assert (asked["gateway"], asked["pending"]) == ("gw1", [])
            assert asked["counts"] == ledger["counts"]
            assert sorted(line["kind"] for line in asked["outages"].values()) == ["broker", "crash"]
            assert {id_: line["kind"] for id_, line in asked["unacknowledged"].items()} == {outage: "session"}
            health = await tech.until("gateway/health", lambda health: outage in health["outages"]["unacknowledged"])
            assert health["outages"]["open"] == {}

            ack = await tech.send("alice", "gw1", "acknowledge-outage", {"outage": outage, "note": "all sent again"})
            assert ack["code"] == 200
            await tech.until("gateway/health", lambda health: not health["outages"]["unacknowledged"])
        lines = {line["kind"]: line for line in await asyncio.to_thread(_ledger, gateway)}
        assert lines.keys() == {"crash", "broker", "session"}
        assert (lines["session"]["acknowledged_by"], lines["session"]["note"]) == ("alice", "all sent again")
    finally:
        await asyncio.to_thread(gateway.close)
        broker.stop()


async def test_nobody_records_an_outage_from_outside_and_no_device_has_the_gateways_name(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    broker.start()
    gateway = GatewayProcess(tmp_path / "gateway", broker.port)
    try:
        await asyncio.to_thread(gateway.start)
        async with technician(broker.port) as tech:
            now = "2026-03-01T12:00:00Z"
            told = {"outage": "o1", "kind": "broker", "began_at": now, "ended_at": now}
            for actor in ("alice", "gw1"):
                assert (await tech.send(actor, "gw1", "record-outage", told))["code"] == 403
                assert (await tech.send(actor, "gw1", "register", {"model": "T"}))["code"] == 404
    finally:
        await asyncio.to_thread(gateway.close)
        broker.stop()


def _ledger(gateway: GatewayProcess, *options: str) -> list[dict[str, object]]:
    printed = gateway.run("outages", "--json", *options)
    assert printed.returncode == 0, printed.stderr
    return [json.loads(line) for line in printed.stdout.splitlines()]
