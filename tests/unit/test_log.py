import io
import logging
from collections.abc import Iterator

import orjson
import pytest
import structlog

from gateway import log as gateway_log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_the_event_first() -> None:
    stream = io.StringIO()
    gateway_log.configure("info", "auto", stream)
    structlog.get_logger().info("command_settled", command_id="c-1", path=object)
    [line] = lines(stream)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert (line["event"], line["level"], line["command_id"]) == ("command_settled", "info", "c-1")


def test_what_is_bound_while_a_command_is_worked_on_stands_in_each_line() -> None:
    stream = io.StringIO()
    gateway_log.configure("info", "json", stream)
    with structlog.contextvars.bound_contextvars(command_id="c-1"):
        structlog.get_logger().info("append_conflict")
    structlog.get_logger().info("after")
    assert [line.get("command_id") for line in lines(stream)] == ["c-1", None]


def test_a_terminal_gets_colours_and_no_json() -> None:
    stream = Terminal()
    gateway_log.configure("info", "auto", stream)
    structlog.get_logger().info("gateway_started")
    assert "\x1b[" in stream.getvalue()
    assert "gateway_started" in stream.getvalue()


def test_what_is_below_the_level_is_not_told() -> None:
    stream = io.StringIO()
    gateway_log.configure("warning", "json", stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_an_exception_is_one_field_with_its_trace() -> None:
    stream = io.StringIO()
    gateway_log.configure("info", "json", stream)
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        structlog.get_logger().exception("command_fault")
    [line] = lines(stream)
    assert "ZeroDivisionError: division by zero" in str(line["exception"])


def test_what_a_library_logs_is_an_event_too() -> None:
    stream = io.StringIO()
    gateway_log.configure("info", "json", stream)
    logging.getLogger("asyncio").warning("slow %s", "callback")
    logging.getLogger("asyncio").info("unheard")
    [line] = lines(stream)
    assert (line["event"], line["library"], line["message"]) == ("library_message", "asyncio", "slow callback")


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    gateway_log.configure("info", "json", Closed())
    structlog.get_logger().info("unheard")
