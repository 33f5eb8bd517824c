"""Whoever reads what he wrote never sees an older revision than he was told, however far the read cache is behind."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from gateway import app
from gateway.adapters.sqlite_log import SqliteLog
from gateway.adapters.systemd import Systemd
from gateway.messages import RecordedEvent
from gateway.settings_loader import load_settings
from gateway.signals import Signals
from tests.support.asking import ask
from tests.support.broker import Broker
from tests.support.gateway_process import GatewayProcess
from tests.support.technician import Technician, technician

pytestmark = pytest.mark.embedded

DEVICES = 50
BEHIND = 0.02


@pytest_asyncio.fixture
async def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Technician]:
    """A technician at a gateway whose read cache is always some time behind the log."""
    subscribe = SqliteLog.subscribe

    async def subscribe_late(self: SqliteLog, *, after: int) -> AsyncGenerator[Sequence[RecordedEvent], None]:
        async with aclosing(subscribe(self, after=after)) as pages:
            async for page in pages:
                await asyncio.sleep(BEHIND)
                yield page

    monkeypatch.setattr(SqliteLog, "subscribe", subscribe_late)
    broker = Broker(tmp_path / "broker")
    broker.start()
    gateway = GatewayProcess(tmp_path / "gateway", broker.port)
    reread = partial(load_settings, gateway.config)
    signals = Signals()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(app.run(reread().settings, signals, Systemd(), reread))
            async with technician(broker.port) as tech:
                await tech.until("gateway/status", lambda status: status["state"] == "online")
                yield tech
            signals.stop.set()
    finally:
        gateway.close()
        broker.stop()


async def _pairs(tech: Technician, device: str, pairs: int) -> list[tuple[int, int]]:
    """Write and read, again and again; each time the revision that was acknowledged, and the one that was read."""
    await tech.send(device, device, "register", {"model": "T-1000"})
    found = []
    for number in range(pairs):
        report = {"properties": {"n": number}}
        if number % 2:
            ack = await tech.send(device, device, "report", report, wait_for="projected")
            answer = await ask(tech, device, "get", device=device)
        else:
            ack = await tech.send(device, device, "report", report)
            answer = await ask(tech, device, "get", device=device, min_position=ack["position"])
        found.append((ack["revision"], answer["result"]["revision"]))
    return found


@pytest.mark.parametrize(
    "pairs", [pytest.param(1_000, id="1,000 pairs"), pytest.param(10_000, id="10,000 pairs", marks=pytest.mark.soak)]
)
async def test_a_write_is_read_by_whoever_wrote_it(behind: Technician, pairs: int) -> None:
    names = [f"writer-{number}" for number in range(DEVICES)]
    found = await asyncio.gather(*(_pairs(behind, name, pairs // DEVICES) for name in names))
    read = [pair for of_one in found for pair in of_one]
    assert len(read) == pairs
    assert [(written, seen) for written, seen in read if seen < written] == []
