import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.errors import LinkLost, PublishRefused, StorageFull
from gateway.messages import Answer, Request
from tests.support.pipeline_bench import ACCEPTED, Bench, report

TOP = Path(__file__).parents[2]


class Followed:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def __call__(self, request: Request, answer: Answer) -> None:
        self.told.append((request.command_id, answer.outcome.code))


@pytest.fixture
def followed() -> Followed:
    return Followed()


@pytest.fixture
def bench(followed: Followed) -> Bench:
    bench = Bench()
    bench.trace = followed
    return bench


async def published(bench: Bench, times: int = 1) -> "asyncio.Future[None]":
    while len(bench.broker.published) < times:
        await asyncio.sleep(0)
    return bench.broker.published[-1][2]


async def test_a_command_is_traced_when_the_broker_has_its_answer_and_not_before(
    bench: Bench, followed: Followed
) -> None:
    bench.broker.confirms_at_once = False
    async with bench.running() as pipeline:
        pipeline.accept(report())
        answer = await published(bench)
        assert followed.told == []
        answer.set_result(None)
        await pipeline.drained()
    assert followed.told == [("c", 201)]


@pytest.mark.parametrize("error", [LinkLost("gone"), PublishRefused("not authorised")])
async def test_an_answer_that_nobody_has_is_not_traced(bench: Bench, followed: Followed, error: Exception) -> None:
    bench.broker.confirms_at_once = False
    async with bench.running() as pipeline:
        pipeline.accept(report())
        (await published(bench)).set_exception(error)
        await pipeline.drained()
    assert followed.told == []


async def test_a_command_that_is_turned_away_is_traced_once_however_often_that_is_said(
    bench: Bench, followed: Followed
) -> None:
    async def full(_requests: Sequence[Request]) -> list[Answer]:
        raise StorageFull("disk full")

    bench.broker.confirms_at_once = False
    async with bench.running(full) as pipeline:
        pipeline.accept(report())
        (await published(bench)).set_exception(LinkLost("gone"))
        (await published(bench, 2)).set_result(None)
        await pipeline.drained()
    assert followed.told == [("c", 503)]


@pytest.mark.parametrize("full", [False, True])
async def test_a_fault_in_tracing_costs_no_command_its_answer(bench: Bench, full: bool) -> None:  # noqa: FBT001
    def faulty(_request: Request, _answer: Answer) -> None:
        raise RuntimeError("a bug")

    async def handle(requests: Sequence[Request]) -> list[Answer]:
        if full:
            raise StorageFull("disk full")
        return [Answer(ACCEPTED) for _ in requests]

    bench.trace = faulty
    deliveries = [report(command_id="first"), report(command_id="second")]
    with capture_logs() as lines:
        async with bench.running(handle) as pipeline:
            for delivery in deliveries:
                pipeline.accept(delivery)
            await pipeline.drained()
    assert bench.broker.codes() == [503 if full else 201] * 2
    assert [delivery.acknowledged for delivery in deliveries] == [1, 1]
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["trace_fault"] * 2


def test_without_a_collector_the_library_is_not_even_imported() -> None:
    script = """
import asyncio, sys
import gateway.daemon
from gateway.adapters.clock import SystemClock
from gateway.latency import untraced
from gateway.settings import TracingSettings
from gateway.tracing import open_tracing

async def opened():
    async with open_tracing(TracingSettings(), "gw1", SystemClock()) as trace:
        assert trace is untraced

asyncio.run(opened())
sys.exit("opentelemetry" in sys.modules or "requests" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=TOP, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
