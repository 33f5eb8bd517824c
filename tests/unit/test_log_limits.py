from contextvars import copy_context
from dataclasses import replace

import structlog
from structlog.testing import capture_logs

from gateway.batch import refused
from gateway.errors import NotPermitted, TooFast
from gateway.log import concerning, with_commands
from gateway.log_limits import MAX_WINDOWS, PER_MINUTE, WINDOW, RefusalLog
from tests.support.requests import REQUEST

FORBIDDEN = refused(NotPermitted("no"), REQUEST)
TOO_FAST = refused(TooFast("slow"), REQUEST)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def suppressed(actor: str, number: int) -> dict[str, object]:
    return {
        "event": "refusals_suppressed",
        "log_level": "info",
        "actor": actor,
        "type": "not-permitted",
        "suppressed": number,
    }


def test_repeated_refusals_are_left_out_and_counted_when_the_minute_is_over() -> None:
    time = Time()
    with capture_logs() as lines:
        refusals = RefusalLog(structlog.get_logger(), time)
        for _ in range(PER_MINUTE + 7):
            refusals.refused(REQUEST, FORBIDDEN)
        assert [line["event"] for line in lines] == ["command_refused"] * PER_MINUTE
        time.now = WINDOW
        refusals.refused(REQUEST, FORBIDDEN)
    assert lines[PER_MINUTE] == suppressed("alice", 7)
    assert [line["event"] for line in lines[PER_MINUTE + 1 :]] == ["command_refused"]
    assert (lines[0]["actor"], lines[0]["code"], lines[0]["type"]) == ("alice", 403, "not-permitted")


def test_repeated_dead_letters_are_left_out_and_counted_beside_the_refusals() -> None:
    time = Time()
    with capture_logs() as lines:
        refusals = RefusalLog(structlog.get_logger(), time)
        for _ in range(PER_MINUTE + 7):
            refusals.buried("alice", "not-permitted", topic="t")
        refusals.refused(REQUEST, FORBIDDEN)
        time.now = WINDOW
        refusals.buried("bob", "not-json", topic="t")
    assert lines[0] == {"event": "dead_letter", "log_level": "warning", "reason": "not-permitted", "topic": "t"}
    assert [line["event"] for line in lines[PER_MINUTE - 1 :]] == [
        "dead_letter",
        "command_refused",
        "dead_letters_suppressed",
        "dead_letter",
    ]
    assert lines[PER_MINUTE + 1] == suppressed("alice", 7) | {"event": "dead_letters_suppressed"}


def test_what_was_left_out_is_told_even_if_that_actor_falls_silent() -> None:
    time = Time()
    with capture_logs() as lines:
        refusals = RefusalLog(structlog.get_logger(), time)
        for _ in range(PER_MINUTE + 1):
            refusals.refused(REQUEST, FORBIDDEN)
        time.now = WINDOW
        refusals.refused(replace(REQUEST, actor="bob"), FORBIDDEN)
    assert lines[PER_MINUTE] == suppressed("alice", 1)


def test_what_was_left_out_is_told_even_if_there_is_no_room_to_remember_it() -> None:
    with capture_logs() as lines:
        refusals = RefusalLog(structlog.get_logger(), Time())
        for _ in range(PER_MINUTE + 1):
            refusals.refused(REQUEST, FORBIDDEN)
        for number in range(MAX_WINDOWS):
            refusals.refused(replace(REQUEST, actor=f"actor-{number}"), FORBIDDEN)
    assert [line for line in lines if line["event"] == "refusals_suppressed"] == [suppressed("alice", 1)]


def test_the_count_does_not_carry_the_command_that_is_worked_on_meanwhile() -> None:
    time = Time()

    def refuse() -> None:
        concerning([replace(REQUEST, device="another", command_id="another")])
        refusals = RefusalLog(structlog.get_logger(), time)
        for _ in range(PER_MINUTE + 1):
            refusals.refused(REQUEST, FORBIDDEN)
        time.now = WINDOW
        refusals.refused(REQUEST, FORBIDDEN)

    with capture_logs(processors=[with_commands]) as lines:
        copy_context().run(refuse)
    assert lines[PER_MINUTE] == suppressed("alice", 1)


def test_each_actor_and_reason_has_lines_of_its_own() -> None:
    with capture_logs() as lines:
        refusals = RefusalLog(structlog.get_logger(), Time())
        for _ in range(PER_MINUTE + 1):
            refusals.refused(REQUEST, FORBIDDEN)
        refusals.refused(REQUEST, TOO_FAST)
        refusals.refused(replace(REQUEST, actor="bob"), FORBIDDEN)
    assert [(line["actor"], line["code"]) for line in lines[PER_MINUTE:]] == [("alice", 429), ("bob", 403)]


def test_memory_stays_bounded_however_many_actors_are_refused() -> None:
    with capture_logs():
        refusals = RefusalLog(structlog.get_logger(), Time())
        for number in range(MAX_WINDOWS + 10):
            refusals.refused(replace(REQUEST, actor=f"actor-{number}"), FORBIDDEN)
    assert len(refusals._windows) == MAX_WINDOWS
