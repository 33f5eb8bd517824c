"""The example of a bridge, between the broker of a site and one elsewhere."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiomqtt import Client

from tests.support.broker import Broker
from tests.support.gateway_process import REPOSITORY
from tests.support.production_site import ProductionSite, production_site
from tests.support.technician import PATIENCE

# none of it depends on where the events are
pytestmark = pytest.mark.embedded

EXAMPLE = (REPOSITORY / "mosquitto" / "bridge.conf").read_text()
TLS = ("bridge_cafile", "bridge_certfile", "bridge_keyfile")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Broker]:
    one = Broker(tmp_path / "elsewhere")
    one.start()
    yield one
    one.stop()


@pytest.fixture
def site(tmp_path: Path, elsewhere: Broker) -> Iterator[ProductionSite]:
    """One whose settings know the actor of the bridge by another name."""
    bridge = "\n".join(line for line in EXAMPLE.splitlines() if not line.startswith(TLS))
    bridge = bridge.replace("cloud.example:8883", f"127.0.0.1:{elsewhere.port}").replace("/cloud/", "/operator-1/")
    with production_site(tmp_path / "site", bridge) as one:
        one.enrol("pump-7")
        yield one


async def _answer(client: Client, topic: str, body: dict[str, Any], answer: str) -> dict[str, Any]:
    """What comes on a topic, for as many questions as it takes: the bridge may not stand yet."""
    await client.subscribe(answer, qos=1)
    async with asyncio.timeout(PATIENCE):
        while True:
            await client.publish(topic, json.dumps(body), qos=1)
            try:
                return json.loads((await asyncio.wait_for(anext(client.messages), 1)).payload)  # type: ignore[no-any-return]
            except TimeoutError:
                continue


async def test_who_is_elsewhere_commands_asks_and_sees_as_the_bridges_actor_and_as_nobody_else(
    site: ProductionSite, elsewhere: Broker
) -> None:
    async with site.device("pump-7") as device, Client("127.0.0.1", elsewhere.port) as client:
        await device.send("pump-7", "pump-7", "register", {"model": "T-1000"})
        for topic in ("sites/gw1/cmd/alice/pump-7/suspend", "edge/gw1/cmd/alice/pump-7/suspend"):
            await client.publish(topic, b'{"command_id": "forged"}', qos=1)
        command = {"command_id": "c-1", "data": {"properties": {"rpm": 1}}}
        ack = await _answer(client, "sites/gw1/cmd/pump-7/configure", command, "sites/gw1/ack/pump-7")
        assert (ack["actor"], ack["code"]) == ("operator-1", 200)
        found = await _answer(client, "sites/gw1/query/get", {"device": "pump-7"}, "sites/gw1/answer/get")
        assert found["result"]["desired"] == {"rpm": 1}
        assert [event.type for event in site.gateway.logged() if event.device == "pump-7"] == [
            "DeviceRegistered",
            "ConfigurationRequested",
        ]
