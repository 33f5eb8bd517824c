"""Spans of OpenTelemetry: a real gateway, and a collector that takes them, is away, or hangs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.gateway_process import REPOSITORY, STARTING, GatewayProcess
from tests.support.otlp_receiver import Received, endpoint, hanging, place, receiver
from tests.support.site import Site
from tests.support.technician import verdict

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@contextmanager
def traced_site(directory: Path, endpoint: str, *, headers: str = "") -> Iterator[Site]:
    broker = Broker(directory / "broker")
    gateway = GatewayProcess(
        directory / "gateway", broker.port, {"tracing": {"endpoint": endpoint}, "log": {"level": "debug"}}
    )
    (directory / "tracing_headers").write_text(headers)
    gateway.environment = {"CREDENTIALS_DIRECTORY": str(directory), "OTEL_BSP_SCHEDULE_DELAY": "50"}
    try:
        broker.start()
        gateway.start()
        yield Site(broker, gateway)
    finally:
        gateway.close()
        broker.stop()


def told(span: Received, *names: str) -> tuple[object, ...]:
    return tuple(span.attributes.get(f"edge_gateway.{name}") for name in names)


async def test_every_settled_command_is_a_span_in_its_senders_trace(tmp_path: Path, device: str) -> None:
    with receiver() as collector, traced_site(tmp_path, collector.endpoint, headers="authorization=hunter2") as site:
        async with site.technician() as tech:
            await tech.send(device, device, "register", {"model": "T-1000"}, id="c-1")
            trace = f"00-{TRACE}-{PARENT}-01"
            await tech.send(device, device, "connect", id="c-2", traceparent=trace)
            await tech.send(device, device, "connect", id="c-2", traceparent=trace)
            await tech.send(device, device, "connect", {"firmware": 7}, id="c-3")
        spans = await asyncio.to_thread(collector.spans, 4)
        assert site.gateway.terminate() == 0
        log = (tmp_path / "gateway" / "gateway.log").read_text()
    assert [span.span.name for span in spans] == ["command register", *["command connect"] * 3]
    assert [span.attributes["messaging.message.id"] for span in spans] == ["c-1", "c-2", "c-2", "c-3"]
    assert [told(span, "code", "revision", "duplicate") for span in spans] == [
        (201, 0, False),
        (200, 1, False),
        (200, 1, True),
        (422, None, False),
    ]
    assert {told(span, "device", "actor") for span in spans} == {(device, device)}
    assert [span.span.trace_id.hex() == TRACE for span in spans] == [False, True, True, False]
    assert spans[1].span.parent_span_id.hex() == PARENT
    assert all(0 < span.span.end_time_unix_nano - span.span.start_time_unix_nano < 20 * 10**9 for span in spans)
    assert {headers["authorization"] for headers in collector.headers} == {"hunter2"}
    assert "hunter2" not in log


async def test_a_collector_that_is_away_costs_no_answer_and_gets_the_spans_when_it_comes(
    tmp_path: Path, device: str
) -> None:
    with place() as somewhere, traced_site(tmp_path, endpoint(somewhere)) as site:
        async with site.technician() as tech:
            assert verdict(await tech.send(device, device, "register", {"model": "T"})) == (201, "DeviceRegistered")
            while not site.gateway.log("spans_not_exported"):
                await asyncio.sleep(0.02)
            with receiver(somewhere) as collector:
                assert verdict(await tech.send(device, device, "connect", id="c-2")) == (200, "DeviceConnected")
                assert told(await asyncio.to_thread(collector.span_of, "c-2"), "code") == (200,)
        assert site.gateway.terminate() == 0
    assert site.gateway.log("trace_fault") == []


async def test_a_collector_that_hangs_holds_up_neither_commands_nor_the_end(tmp_path: Path, device: str) -> None:
    with hanging() as collector, traced_site(tmp_path, collector.endpoint) as site:
        async with site.technician() as tech:
            await tech.send(device, device, "register", {"model": "T-1000"})
            with await asyncio.to_thread(collector.wait_for_a_client):
                await asyncio.gather(*(tech.send(device, device, "connect") for _ in range(50)))
                # what comes behind a batch that hangs is not sent, and the end does not wait for it
                assert site.gateway.terminate() == 0
    assert len(site.gateway.log("spans_not_sent_at_the_end")) == 1
    assert len(site.gateway.log("gateway_stopped")) == 1


@pytest.mark.embedded
def test_a_collector_in_the_settings_of_a_gateway_without_the_library_is_an_error_with_its_remedy(
    tmp_path: Path,
) -> None:
    gateway = GatewayProcess(tmp_path / "gateway", 1, {"tracing": {"endpoint": "http://127.0.0.1:1"}})
    # in place of the library, and empty
    (tmp_path / "path" / "opentelemetry").mkdir(parents=True)
    (tmp_path / "path" / "opentelemetry" / "__init__.py").touch()
    ran = subprocess.run(
        [sys.executable, "-m", "gateway", "run", "--config", gateway.config],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "path")},
        capture_output=True,
        text=True,
        timeout=STARTING,
        check=False,
    )
    gateway.close()
    assert ran.returncode == 78
    assert "tracing.endpoint: needs OpenTelemetry" in ran.stderr
    assert "install edge-gateway[otel]" in ran.stderr
