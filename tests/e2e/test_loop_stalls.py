"""The event loop is never blocked, whatever the log, the read cache and the broker are busy with."""

import asyncio
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from blockbuster import blockbuster_ctx
from structlog.testing import capture_logs

from gateway import app
from gateway.adapters.systemd import Systemd
from gateway.daemon import SWITCH_INTERVAL
from gateway.settings_loader import load_settings
from gateway.signals import Signals
from tests.support.broker import Broker
from tests.support.gateway_process import REPOSITORY, GatewayProcess
from tests.support.loop_watch import LoopWatch
from tests.support.technician import technician

DEVICES, COMMANDS = 50, 200
LIMIT: Final = 0.1


@pytest.fixture
def switch_often() -> Iterator[None]:
    """As the gateway has it when it runs in its own process."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("switch_often")
async def test_the_loop_comes_round_within_100_ms_under_10_000_commands(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    broker.start()
    gateway = GatewayProcess(tmp_path / "gateway", broker.port)
    try:
        reread = partial(load_settings, gateway.config)
        signals, watch = Signals(), LoopWatch()
        async with asyncio.TaskGroup() as group:
            group.create_task(app.run(reread().settings, signals, Systemd(), reread))
            async with technician(broker.port) as tech:
                await tech.until("gateway/status", lambda status: status["state"] == "online")
            command = ("-m", "tests.support.load", str(broker.port), str(DEVICES), str(COMMANDS))
            load = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=REPOSITORY)
            watching = group.create_task(watch.run())
            # a blocking call raises where it is made; if the gateway survives that, it tells of it in its log
            with blockbuster_ctx("gateway"), capture_logs() as lines:
                status = await load.wait()
            watching.cancel()
            signals.stop.set()
    finally:
        gateway.close()
        broker.stop()
    assert status == 0
    # a server that many tests share may take its time
    told = [line for line in lines if line["event"] != "event_store_away"]
    assert [line for line in told if line["log_level"] not in {"debug", "info"}] == []
    assert 0 < watch.longest < LIMIT
