import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from structlog.testing import capture_logs

from gateway.adapters import otel
from gateway.adapters.otel import PATH, SpanOptions, Spans, open_spans
from gateway.errors import SettingsError
from gateway.messages import Answer, ErrorDetail, Outcome
from tests.support.fixed_clock import FixedClock
from tests.support.otlp_receiver import Receiver, endpoint, hanging, place, receiver
from tests.support.requests import NOW, REQUEST

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
APPLIED = Answer(Outcome(200, b"", NOW, revision=7, position=9))
MILLISECOND = 1_000_000


def refusal(code: int, type: str) -> Answer:
    return Answer(Outcome(code, b"", NOW, error=ErrorDetail(type, "because")))


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with receiver() as one:
        yield one


@asynccontextmanager
async def spans_to(endpoint: str, clock: FixedClock | None = None, **options: Any) -> AsyncIterator[Spans]:
    async with open_spans(SpanOptions(endpoint, "gw1", **options), clock or FixedClock(NOW)) as spans:
        yield spans


async def test_a_span_goes_from_the_receipt_to_the_answer_and_says_what_became_of_the_command(
    collector: Receiver,
) -> None:
    clock = FixedClock(NOW + timedelta(milliseconds=3))
    async with spans_to(collector.endpoint, clock) as spans:
        spans.answered(replace(REQUEST, correlation_id="order-66"), replace(APPLIED, duplicate=True))
    [received] = collector.spans(1)
    span = received.span
    assert (span.name, span.kind, span.status.code) == ("command configure", Span.SPAN_KIND_CONSUMER, Status().code)
    assert span.start_time_unix_nano == int(NOW.timestamp()) * 1_000 * MILLISECOND
    assert span.end_time_unix_nano - span.start_time_unix_nano == 3 * MILLISECOND
    assert received.attributes == {
        "messaging.system": "mqtt",
        "messaging.operation.type": "process",
        "messaging.operation.name": "command",
        "messaging.message.id": "c-1",
        "messaging.message.conversation_id": "order-66",
        "edge_gateway.command": "configure",
        "edge_gateway.device": "pump-7",
        "edge_gateway.actor": "alice",
        "edge_gateway.code": 200,
        "edge_gateway.status": "accepted",
        "edge_gateway.duplicate": True,
        "edge_gateway.revision": 7,
    }
    told = ("service.name", "service.version", "service.instance.id")
    assert [received.resource[name] for name in told] == ["edge-gateway", "0.1.0", "gw1"]


async def test_a_span_is_the_child_of_the_senders_or_begins_a_trace(collector: Receiver) -> None:
    async with spans_to(collector.endpoint) as spans:
        spans.answered(replace(REQUEST, command_id="child", traceparent=f"00-{TRACE}-{PARENT}-01"), APPLIED)
        spans.answered(replace(REQUEST, command_id="root"), APPLIED)
        spans.answered(replace(REQUEST, command_id="zeros", traceparent=f"00-{'0' * 32}-{'0' * 16}-01"), APPLIED)
    by_id = {one.attributes["messaging.message.id"]: one.span for one in collector.spans(3)}
    assert by_id["child"].trace_id.hex() == TRACE
    assert by_id["child"].parent_span_id.hex() == PARENT
    assert by_id["root"].parent_span_id == by_id["zeros"].parent_span_id == b""
    assert len({span.trace_id for span in by_id.values()}) == 3


async def test_the_sender_decides_whether_his_trace_is_kept_else_the_settings_do(collector: Receiver) -> None:
    async with spans_to(collector.endpoint, sample=0.0) as spans:
        spans.answered(replace(REQUEST, traceparent=f"00-{TRACE}-{PARENT}-00"), APPLIED)
        spans.answered(REQUEST, APPLIED)
        spans.answered(replace(REQUEST, command_id="kept", traceparent=f"00-{TRACE}-{PARENT}-01"), APPLIED)
    assert [one.attributes["messaging.message.id"] for one in collector.spans(1)] == ["kept"]


@pytest.mark.parametrize(
    ("code", "type", "failed"),
    [
        (500, "gateway-fault", True),
        (503, "store-unavailable", True),
        (422, "suspended", False),
        (429, "too-fast", False),
    ],
)
async def test_only_what_the_gateway_is_to_blame_for_is_an_error(
    collector: Receiver,
    code: int,
    type: str,
    failed: bool,  # noqa: FBT001
) -> None:
    async with spans_to(collector.endpoint) as spans:
        spans.answered(REQUEST, refusal(code, type))
    [received] = collector.spans(1)
    assert (received.span.status.code == Status.STATUS_CODE_ERROR) is failed
    assert received.attributes.get("error.type") == (type if failed else None)
    assert received.attributes["edge_gateway.refusal"] == type
    assert "edge_gateway.revision" not in received.attributes


async def test_nobody_makes_up_names_of_spans(collector: Receiver) -> None:
    async with spans_to(collector.endpoint) as spans:
        spans.answered(replace(REQUEST, name="sparkle-9"), refusal(404, "unknown-command"))
    [received] = collector.spans(1)
    assert received.span.name == "command unknown"
    assert received.attributes["edge_gateway.command"] == "sparkle-9"


async def test_a_clock_that_was_set_back_makes_no_span_that_ends_before_it_begins(collector: Receiver) -> None:
    async with spans_to(collector.endpoint, FixedClock(NOW - timedelta(hours=1))) as spans:
        spans.answered(REQUEST, APPLIED)
    [received] = collector.spans(1)
    assert received.span.end_time_unix_nano == received.span.start_time_unix_nano


@pytest.mark.parametrize("suffix", ["", "/", PATH, f"{PATH}/"])
async def test_the_path_may_be_left_out_and_headers_go_with_each_request(collector: Receiver, suffix: str) -> None:
    async with spans_to(f"{collector.endpoint}{suffix}", headers={"Authorization": "Bearer hunter2"}) as spans:
        spans.answered(REQUEST, APPLIED)
    collector.spans(1)
    assert collector.paths == [PATH]
    assert collector.headers[0]["authorization"] == "Bearer hunter2"


async def test_the_environment_may_name_the_service(collector: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=plant-3,deployment.environment.name=test")
    async with spans_to(collector.endpoint) as spans:
        spans.answered(REQUEST, APPLIED)
    [received] = collector.spans(1)
    assert received.resource["service.name"] == "plant-3"
    assert received.resource["deployment.environment.name"] == "test"


async def test_what_could_not_be_sent_is_sent_when_the_collector_is_there_and_told_once() -> None:
    with place() as somewhere, capture_logs() as lines:
        async with spans_to(endpoint(somewhere)) as spans:
            spans.answered(REQUEST, APPLIED)
            while not lines:
                await asyncio.sleep(0.01)
            spans.answered(replace(REQUEST, command_id="c-2"), APPLIED)
            with receiver(somewhere) as collector:
                await asyncio.to_thread(collector.spans, 2)
    assert {line["event"] for line in lines} == {"spans_not_exported"}
    assert len({line["reason"].split()[0] for line in lines}) == len(lines)


async def test_a_collector_that_refuses_is_told_of_seldom_however_many_spans_it_refuses(collector: Receiver) -> None:
    collector.status = 401
    with capture_logs() as lines:
        async with spans_to(collector.endpoint) as spans:
            for number in range(3):
                spans.answered(REQUEST, APPLIED)
                await asyncio.to_thread(collector.refusals, number + 1)
    assert [line["event"] for line in lines] == ["spans_not_exported"]
    assert "401" in lines[0]["reason"]


async def test_what_waits_for_a_collector_is_bounded_and_blocks_nothing_and_costs_the_log_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otel, "LEAVE_PATIENCE", 0.01)
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
    with hanging() as collector, capture_logs() as lines:
        async with spans_to(collector.endpoint) as spans:
            spans.answered(REQUEST, APPLIED)
            with await asyncio.to_thread(collector.wait_for_a_client), blockbuster_ctx():
                for _ in range(1_000):
                    spans.answered(REQUEST, APPLIED)
    assert [line["event"] for line in lines if "Queue full" in line.get("reason", "")] == ["spans_not_exported"]


async def test_the_end_does_not_wait_for_a_collector_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel, "LEAVE_PATIENCE", 0.05)
    with hanging() as collector, capture_logs() as lines:
        async with asyncio.timeout(5), spans_to(collector.endpoint) as spans:
            spans.answered(REQUEST, APPLIED)
            client = await asyncio.to_thread(collector.wait_for_a_client)
        client.close()
    assert [line["event"] for line in lines][:1] == ["spans_not_sent_at_the_end"]


async def test_a_file_of_authorities_that_is_not_there_is_an_error_of_the_settings(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    with pytest.raises(SettingsError, match=r"^tracing\.ca_file: .*ca\.pem: No such file"):
        async with spans_to("https://collector.example:4318", ca_file=missing):
            pass


async def test_what_the_library_says_of_the_environment_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "hunter2 and no sign")
    with capture_logs() as lines:
        async with spans_to("http://127.0.0.1:1"):
            logging.getLogger("opentelemetry.sdk.trace").warning("something else")
    assert [line["reason"] for line in lines] == ["something else"]


async def test_what_the_library_logs_is_its_own_again_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async with spans_to("http://127.0.0.1:1"):
        pass
    logging.getLogger("opentelemetry.sdk.trace").warning("afterwards")
    assert caplog.messages == ["afterwards"]
