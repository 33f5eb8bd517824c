"""Logging: structlog straight to standard error, as colours on a terminal or as JSON lines; or to systemd's journal.

One event name for each occurrence, fields instead of sentences. What the libraries log joins it through one handler.
"""

import logging
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from gateway.journal import Journal, is_journal
from gateway.messages import Request

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


_CONCERNED: Final[ContextVar[Sequence[Request]]] = ContextVar("commands that are worked on", default=())


def configure(level: str, style: str, stream: TextIO = sys.stderr) -> None:
    """Set logging up.

    Args:
        level: the least that is told: debug, info, warning or error.
        style: console, json, or auto: console where the stream is a terminal, the journal's own where systemd reads it.
        stream: where it goes.
    """
    as_console = style == "console" or (style == "auto" and stream.isatty())
    set_level(level)
    shared: list[Processor] = [
        _LEAST,
        with_commands,
        structlog.processors.add_log_level,
    ]
    render: list[Processor]
    stamped = structlog.processors.TimeStamper(fmt="iso", utc=True)
    logger: _Lines | Journal = _Lines(stream)
    if as_console:
        render = [stamped, structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    elif style == "auto" and is_journal(stream):
        logger = Journal()
        render = [structlog.processors.format_exc_info]
    else:
        render = [stamped, structlog.processors.format_exc_info, _as_json_line]
    structlog.configure(
        processors=[*shared, *render],
        # the least that is told may change while loggers are in use, so it is none of their own
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS["debug"]),
        logger_factory=lambda *_: logger,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_FromLibraries()]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def is_told(level: str) -> bool:
    """Whether lines of this level are told; whoever writes one for each command asks first."""
    return LEVELS[level] >= _LEAST.level


def concerning(requests: Sequence[Request]) -> None:
    """What this task logs from now on concerns these commands, all of one device."""
    # hardly any of them is ever logged of, so they are not put into words before
    _CONCERNED.set(requests)


def with_commands(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say in an event which commands it concerns; see :func:`concerning`."""
    if requests := _CONCERNED.get():
        first, ids = requests[0], [request.command_id for request in requests]
        told: EventDict = {"device": first.device, "actor": first.actor, "command_id": ids[0] if len(ids) == 1 else ids}
        return {**told, **event}
    return event


def set_level(level: str) -> None:
    """From now on tell nothing below debug, info, warning or error."""
    _LEAST.level = LEVELS[level]


class _Least:
    """Drops what is below a level.

    Attributes:
        level: as a number.
    """

    def __init__(self) -> None:
        self.level = LEVELS["info"]

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if LEVELS[method] < self.level:
            raise structlog.DropEvent
        return event


_LEAST: Final = _Least()


class _Lines:
    """Writes lines. A log that cannot be written, such as to a closed pipe, must not stop the gateway."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            # there is no other place to say so
            return

    debug = info = warning = error = critical = exception = msg


class _FromLibraries(logging.Handler):
    """What asyncio, aiomqtt and others log, as events of ours."""

    def __init__(self) -> None:
        # a library may set its own logger below the root's level
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            # the arguments do not fit the text: a library's slip, which must not become our fault
            message = str(record.msg)
        getattr(structlog.get_logger(), level)(
            "library_message", library=record.name, message=message, exc_info=record.exc_info
        )


def _as_json_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    ordered: dict[str, Any] = {name: event.pop(name, None) for name in ("timestamp", "level", "event")}
    fields = {**ordered, **event}
    try:
        return orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:
        # a lone surrogate or a number over 64 bits: as Python writes it, rather than not at all
        return orjson.dumps({name: _in_ascii(value) for name, value in fields.items()}).decode()


def _in_ascii(value: object) -> str:
    return value if isinstance(value, str) and value.isascii() else ascii(value)
