"""One span of OpenTelemetry for each answered command: made on the event loop, sent over OTLP by the SDK's thread.

Only this module imports OpenTelemetry. What waits for the collector is bounded by the SDK, which drops the oldest.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from gateway import __version__
from gateway.codes import status_of
from gateway.errors import SettingsError
from gateway.messages import Answer, Request
from gateway.ports import Clock

try:
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    from opentelemetry.trace import SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    from opentelemetry.util.types import AttributeValue
except ImportError as missing:
    raise ImportError(f"needs OpenTelemetry ({missing}): install edge-gateway[otel]") from missing

log = structlog.get_logger()

PATH: Final = "/v1/traces"
FIRST_OF_OURS: Final = 500
"""From this code on the sender is not to blame."""

SELDOM: Final = 600.0
"""Seconds between two lines about the same trouble: a collector may be away for days, and commands go on."""

LEAVE_PATIENCE: Final = 2.0
"""Seconds at the end for what is not sent yet."""

_TOLD_OF: Final = ("opentelemetry.sdk.", "opentelemetry.exporter.")
_MAX_TROUBLE_TOLD: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class SpanOptions:
    """Where spans go.

    Attributes:
        endpoint: of the collector, with or without the path for traces.
        gateway: by which the collector tells gateways apart.
        headers: for each request; they may hold a token, so no text shows them.
        ca_file: certificates to trust, instead of those that come with the library.
        sample: share of the commands that have a span where no sender says.
    """

    endpoint: str
    gateway: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    sample: float = 1.0


@asynccontextmanager
async def open_spans(options: SpanOptions, clock: Clock) -> AsyncIterator["Spans"]:
    """Spans to a collector, which may be away; at the end what waits has a moment to be sent.

    Raises:
        SettingsError: the CA file cannot be read.
    """
    try:
        if options.ca_file is not None:
            # the library would look at it when it sends, and then each time
            options.ca_file.open("rb").close()
    except OSError as error:
        raise SettingsError(f"tracing.ca_file: {options.ca_file}: {error.strerror}") from error
    with _troubles():
        provider = _provider(options)
        try:
            yield Spans(provider, clock.now)
        finally:
            await _end(provider)


class Spans:
    """Makes spans of commands and their answers."""

    def __init__(self, provider: TracerProvider, now: Callable[[], datetime]) -> None:
        """Give spans to ``provider``; each ends ``now``."""
        self._tracer = provider.get_tracer("gateway", __version__)
        self._propagator = TraceContextTextMapPropagator()
        self._now = now

    def answered(self, request: Request, answer: Answer) -> None:
        """One span, from the receipt of a copy of a command until now: the broker has the answer."""
        error = answer.outcome.error
        # a command that there is not is named by anybody in any way, and the names of spans are to be few
        named = "unknown" if error is not None and error.type == "unknown-command" else request.name
        context = Context()
        if request.traceparent is not None:
            context = self._propagator.extract({"traceparent": request.traceparent}, context)
        begin = _nanoseconds(request.received_at)
        span = self._tracer.start_span(f"command {named}", context, SpanKind.CONSUMER, start_time=begin)
        if span.is_recording():
            span.set_attributes(_attributes(request, answer))
            if error is not None and answer.outcome.code >= FIRST_OF_OURS:
                span.set_attribute("error.type", error.type)
                span.set_status(Status(StatusCode.ERROR, error.message))
        # somebody may have set the clock back meanwhile
        span.end(max(begin, _nanoseconds(self._now())))


def _attributes(request: Request, answer: Answer) -> dict[str, AttributeValue]:
    outcome = answer.outcome
    attributes: dict[str, AttributeValue] = {
        "messaging.system": "mqtt",
        "messaging.operation.type": "process",
        "messaging.operation.name": "command",
        "messaging.message.id": request.command_id,
        "edge_gateway.command": request.name,
        "edge_gateway.device": request.device,
        "edge_gateway.actor": request.actor,
        "edge_gateway.code": outcome.code,
        "edge_gateway.status": status_of(outcome.code),
        "edge_gateway.duplicate": answer.duplicate,
    }
    if request.correlation_id is not None:
        attributes["messaging.message.conversation_id"] = request.correlation_id
    if outcome.revision is not None:
        attributes["edge_gateway.revision"] = outcome.revision
    if outcome.error is not None:
        attributes["edge_gateway.refusal"] = outcome.error.type
    return attributes


def _nanoseconds(at: datetime) -> int:
    # in whole numbers: a float of seconds has no room for them
    return (at - _EPOCH) // _MICROSECOND * 1_000


def _provider(options: SpanOptions) -> TracerProvider:
    """A provider of our own, not the process's: whatever else uses OpenTelemetry here is none of our business."""
    ours = {
        "service.name": "edge-gateway",
        "service.version": __version__,
        "service.instance.id": options.gateway,
    }
    # what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say wins, as everywhere
    resource = Resource.create(ours).merge(OTELResourceDetector().detect())
    sampler = ParentBased(TraceIdRatioBased(options.sample))
    provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_exporter(options)))
    return provider


def _exporter(options: SpanOptions) -> OTLPSpanExporter:
    return OTLPSpanExporter(
        endpoint=options.endpoint.rstrip("/").removesuffix(PATH) + PATH,
        headers=dict(options.headers),
        certificate_file=str(options.ca_file) if options.ca_file else None,
    )


async def _end(provider: TracerProvider) -> None:
    """Send what waits, within limits: the SDK would take half a minute with a collector that hangs."""
    # a daemon, as the SDK's own thread is: neither keeps the process from its end
    thread = threading.Thread(target=provider.shutdown, name="end of spans", daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join, LEAVE_PATIENCE)
    if thread.is_alive():
        log.warning("spans_not_sent_at_the_end", meaning="the collector takes too long")


class _Troubles(logging.Handler):
    """What the SDK has to complain of, in our log, and each kind of trouble seldom."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kinds: dict[tuple[str, str], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        # others tell of what they were given in the environment, and that may be a secret
        if not record.name.startswith(_TOLD_OF):
            return
        # the text before anything is put into it: there are as many as there are lines of code that log
        kind, now = (record.name, str(record.msg)), time.monotonic()
        if now - self._kinds.get(kind, -SELDOM) < SELDOM:
            return
        self._kinds[kind] = now
        reason = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            reason = f"{reason} {record.exc_info[1]!r}"
        log.warning("spans_not_exported", reason=reason[:_MAX_TROUBLE_TOLD])


@contextmanager
def _troubles() -> Iterator[None]:
    logger, handler = logging.getLogger("opentelemetry"), _Troubles()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
