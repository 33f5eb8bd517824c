"""What the broker drops is seen at the gateway, where the broker tells it; where it does not, nothing is amiss."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aiomqtt import Client, ProtocolVersion

from tests.support.broker import Broker
from tests.support.gateway_process import GatewayProcess
from tests.support.technician import technician

pytestmark = pytest.mark.embedded

SYS = "\ntopic read $SYS/broker/publish/messages/dropped\n"
RULES = "topic readwrite edge/#\ntopic readwrite flood\n"


@pytest.fixture(params=[True, False], ids=["told", "kept back"])
def plant(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Broker, GatewayProcess, bool]]:
    rules = tmp_path / "rules"
    rules.write_text(RULES + (SYS if request.param else ""))
    broker = Broker(tmp_path / "broker", {"sys_interval": "1", "max_queued_messages": "5", "acl_file": str(rules)})
    gateway = GatewayProcess(tmp_path / "gateway", broker.port)
    try:
        broker.start()
        gateway.start()
        yield broker, gateway, request.param
    finally:
        gateway.close()
        broker.stop()


async def test_what_the_broker_drops_is_told_in_health(plant: tuple[Broker, GatewayProcess, bool]) -> None:
    broker, _, told = plant
    async with technician(broker.port) as tech:
        if told:
            await tech.until("gateway/health", lambda health: health["broker"]["dropped"] == 0)
        async with Client(
            "127.0.0.1", broker.port, identifier="away", clean_session=False, protocol=ProtocolVersion.V311
        ) as away:
            await away.subscribe("flood", qos=1)
        async with Client("127.0.0.1", broker.port) as flood:
            for _ in range(50):
                await flood.publish("flood", "x", qos=1)
        # whatever the broker says of itself, commands are served
        assert (await tech.send("p", "p", "register", {"model": "T-1000"}))["code"] == 201
        dropped = (lambda count: count and count >= 40) if told else (lambda count: count is None)
        await tech.until("gateway/health", lambda health: dropped(health["broker"]["dropped"]))
