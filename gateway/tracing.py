"""Whether each answered command becomes a span of OpenTelemetry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway import setting_checks
from gateway.errors import SettingsError
from gateway.latency import Trace, untraced
from gateway.ports import Clock
from gateway.settings import TracingSettings


@asynccontextmanager
async def open_tracing(settings: TracingSettings, gateway: str, clock: Clock) -> AsyncIterator[Trace]:
    """What is to be told of each answered command: nothing, unless there is a ``tracing.endpoint``.

    Raises:
        SettingsError: the settings cannot be used, or OpenTelemetry is not installed.
    """
    if not settings.endpoint:
        yield untraced
        return
    # here, because it takes time and memory, and who sends no spans need not have it
    try:
        from gateway.adapters.otel import SpanOptions, open_spans
    except ImportError as error:
        raise SettingsError(f"tracing.endpoint: {error}") from error

    options = SpanOptions(
        endpoint=settings.endpoint,
        gateway=gateway,
        headers=setting_checks.headers(settings.headers.get_secret_value()),
        ca_file=Path(settings.ca_file) if settings.ca_file else None,
        sample=settings.sample,
    )
    async with open_spans(options, clock) as spans:
        yield spans.answered
