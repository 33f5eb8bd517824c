"""Who reads a long history delays no command, and who asks while the read cache is made anew is told so."""

import asyncio
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs

from benchmarks.history import fill
from gateway import app
from gateway.adapters.systemd import Systemd
from gateway.daemon import SWITCH_INTERVAL
from gateway.settings_loader import load_settings
from gateway.signals import Signals
from tests.support.asking import ask
from tests.support.broker import Broker
from tests.support.gateway_process import REPOSITORY, GatewayProcess
from tests.support.loop_watch import LoopWatch
from tests.support.technician import ROOT, Technician, technician

pytestmark = pytest.mark.embedded

EVENTS: Final = 100_000
COMMANDS: Final = 100
TIMES_SLOWER: Final = 20
"""That commands may be answered beside the queries. The machine has other things to do, and is slower at times."""

LONGEST_STALL: Final = 0.25
"""Seconds; reading all of it in one go takes many times as long. The technician works on this loop, too."""

CATCHING_UP: Final = 90.0


@pytest.fixture
def switch_often() -> Iterator[None]:
    """As the gateway has it when it runs in its own process."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    yield
    sys.setswitchinterval(interval)


async def _latency(tech: Technician, number: int) -> float:
    """Seconds until a command is acknowledged."""
    began = time.perf_counter()
    ack = await tech.send("pump-1", "pump-1", "report", {"properties": {"n": number}})
    assert ack["code"] == 200
    return time.perf_counter() - began


async def _is_caught_up(tech: Technician) -> None:
    health = "gateway/health"
    await tech.until(health, lambda told: told["read_cache"]["rebuilding"] is False, within=CATCHING_UP)


@pytest.mark.usefixtures("switch_often")
async def test_commands_are_answered_as_ever_while_a_long_history_is_read(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    gateway = GatewayProcess(tmp_path / "gateway", broker.port)
    await asyncio.to_thread(fill, gateway.state_dir, "pump", 2, 2, EVENTS)
    broker.start()
    try:
        reread = partial(load_settings, gateway.config)
        signals, watch = Signals(), LoopWatch()
        with capture_logs():
            async with asyncio.TaskGroup() as group:
                group.create_task(app.run(reread().settings, signals, Systemd(), reread))
                async with technician(broker.port) as tech:
                    await _is_caught_up(tech)
                    quiet = [await _latency(tech, number) for number in range(COMMANDS)]
                    watching = group.create_task(watch.run())
                    command = ("-m", "benchmarks.asking", str(broker.port), ROOT, "pump-0", "once")
                    reader = await asyncio.create_subprocess_exec(
                        sys.executable, *command, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
                    )
                    reading = group.create_task(reader.communicate())
                    beside: list[float] = []
                    while not reading.done():
                        beside.append(await _latency(tech, COMMANDS + len(beside)))
                    watching.cancel()
                signals.stop.set()
        printed, _ = reading.result()
    finally:
        gateway.close()
        broker.stop()
    assert int(printed) == EVENTS + 1
    assert len(beside) >= COMMANDS
    assert statistics.median(beside) < TIMES_SLOWER * statistics.median(quiet)
    assert 0 < watch.longest < LONGEST_STALL


async def test_an_answer_is_stale_while_the_read_cache_is_made_anew_and_then_no_more(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    gateway = GatewayProcess(tmp_path / "gateway", broker.port)
    await asyncio.to_thread(fill, gateway.state_dir, "pump", 2, 2, EVENTS // 2)
    broker.start()
    try:
        await asyncio.to_thread(gateway.start)
        async with technician(broker.port) as tech:
            await _is_caught_up(tech)
            whole = await ask(tech, "alice", "get", device="pump-0")
            assert (whole["code"], whole["stale"]) == (200, False)
            gateway.signal(signal.SIGUSR1)
            async with asyncio.timeout(CATCHING_UP):
                while not (answer := await ask(tech, "alice", "list", limit=1))["stale"]:
                    pass
                assert answer["position"] < whole["position"]
                while (answer := await ask(tech, "alice", "get", device="pump-0"))["stale"]:
                    pass
            assert answer["position"] >= whole["position"]
            assert answer["result"] == whole["result"]
    finally:
        gateway.close()
        broker.stop()
