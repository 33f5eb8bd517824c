import io
import logging
from collections.abc import Iterator
from contextvars import copy_context
from dataclasses import replace
from datetime import datetime, timedelta

import orjson
import pytest
import structlog

from gateway import log as gateway_log
from gateway.messages import Request
from tests.support.requests import REQUEST


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


def test_the_commands_that_are_worked_on_stand_in_each_line() -> None:
    stream = io.StringIO()
    gateway_log.configure("info", "json", stream)

    def work(*requests: Request) -> None:
        gateway_log.concerning(requests)
        structlog.get_logger().info("append_conflict", device="valve-1")

    copy_context().run(work, REQUEST)
    copy_context().run(work, REQUEST, replace(REQUEST, command_id="c-2"))
    structlog.get_logger().info("after")
    about = [(line.get("command_id"), line.get("actor"), line.get("device")) for line in lines(stream)]
    first = REQUEST.command_id
    assert about == [(first, "alice", "valve-1"), ([first, "c-2"], "alice", "valve-1"), (None, None, None)]


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


def test_what_a_library_logs_below_a_warning_stays_out_whatever_level_it_chose_itself() -> None:
    stream = io.StringIO()
    gateway_log.configure("debug", "json", stream)
    chatty = logging.getLogger("chatty")
    chatty.setLevel(logging.DEBUG)
    chatty.debug("unheard")
    chatty.error("heard")
    assert [(line["level"], line["message"]) for line in lines(stream)] == [("error", "heard")]


def test_a_librarys_arguments_that_do_not_fit_its_text_stop_nothing() -> None:
    stream = io.StringIO()
    gateway_log.configure("info", "json", stream)
    text = "%d of %s"
    logging.getLogger("slipping").warning(text, "many")
    [line] = lines(stream)
    assert line["message"] == text


@pytest.mark.parametrize(("value", "shown"), [("a\ud800", r"'a\ud800'"), (2**64, str(2**64)), ({"n": 2**64}, None)])
def test_what_json_cannot_carry_is_told_as_python_writes_it(value: object, shown: str | None) -> None:
    stream = io.StringIO()
    gateway_log.configure("info", "json", stream)
    structlog.get_logger().info("odd", value=value, other="plain")
    [line] = lines(stream)
    assert (line["event"], line["level"], line["other"]) == ("odd", "info", "plain")
    assert line["value"] == (shown or ascii(value))


def test_a_time_is_rfc_3339_in_utc() -> None:
    stream = io.StringIO()
    gateway_log.configure("info", "json", stream)
    structlog.get_logger().info("gateway_started")
    [line] = lines(stream)
    stamp = str(line["timestamp"])
    assert stamp.endswith("Z")
    assert datetime.fromisoformat(stamp).utcoffset() == timedelta(0)


def test_control_characters_of_a_sender_cannot_forge_a_line_on_a_terminal() -> None:
    stream = io.StringIO()
    gateway_log.configure("info", "console", stream)
    structlog.get_logger().info("command_refused", message="no\n2026 [info] forged\x1b[2J")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_log_that_cannot_be_written_stops_nothing(style: str) -> None:
    gateway_log.configure("info", style, Closed())
    structlog.get_logger().info("unheard")
