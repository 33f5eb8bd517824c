from dataclasses import replace

import structlog
from structlog.testing import capture_logs

from gateway.batch import refused
from gateway.errors import NotPermitted, TooFast
from gateway.log_limits import MAX_PAIRS, PER_MINUTE, WINDOW, RefusalLog
from tests.support.requests import REQUEST

FORBIDDEN = refused(NotPermitted("no"), REQUEST)
TOO_FAST = refused(TooFast("slow"), REQUEST)


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_repeated_refusals_are_left_out_and_counted_in_the_next_line() -> None:
    time = Time()
    with capture_logs() as lines:
        refusals = RefusalLog(structlog.get_logger(), time)
        for _ in range(PER_MINUTE + 7):
            refusals.refused(REQUEST, FORBIDDEN)
        time.now = WINDOW
        refusals.refused(REQUEST, FORBIDDEN)
    assert len(lines) == PER_MINUTE + 1
    assert [line["suppressed"] for line in lines] == [0] * PER_MINUTE + [7]
    assert lines[0]["event"] == "command_refused"
    assert (lines[0]["actor"], lines[0]["code"], lines[0]["type"]) == ("alice", 403, "not-permitted")


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
        for number in range(MAX_PAIRS + 10):
            refusals.refused(replace(REQUEST, actor=f"actor-{number}"), FORBIDDEN)
    assert len(refusals._windows) == MAX_PAIRS
