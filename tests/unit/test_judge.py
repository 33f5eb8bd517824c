"""The judge of the crash tests: it must find what is wrong, or its silence means nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.event_log import LoggedEvent
from tests.support.judge import Sent, faults
from tests.support.technician import Body

DEVICE = "pump-1"
Run = tuple[list[Sent], dict[str, list[Body]], list[LoggedEvent]]


def _good() -> Run:
    """Three reports and a refusal, all as they should be."""
    sent = [Sent(DEVICE, DEVICE, "report", f"c-{number}", {}, 200) for number in range(3)]
    log = [
        LoggedEvent(number + 1, f"device-{DEVICE}", number, f"e-{number}", "PropertiesReported", {}, _by(f"c-{number}"))
        for number in range(3)
    ]
    acks = {f"c-{number}": [_ack(event)] for number, event in enumerate(log)}
    acks["c-1"].append({**acks["c-1"][0], "duplicate": True, "epoch": 2})
    refused = Sent(DEVICE, DEVICE, "suspend", "c-9", {}, 403)
    acks["c-9"] = [{"code": 403, "duplicate": False, "epoch": 1, "revision": 2, "position": None, "events": []}]
    return [*sent, refused], acks, log


def _by(command_id: str) -> Body:
    return {"actor": DEVICE, "command_id": command_id}


def _ack(event: LoggedEvent) -> Body:
    told = {"id": event.id, "type": event.type, "revision": event.revision}
    place = {"revision": event.revision, "position": event.position}
    return {"code": 200, "duplicate": False, "epoch": 1, **place, "events": [told]}


def _lost(run: Run) -> None:
    run[2].pop()


def _done_twice(run: Run) -> None:
    run[2].append(replace(run[2][-1], position=4, revision=3, id="e-3"))


def _never_sent(run: Run) -> None:
    run[2].append(replace(run[2][-1], position=4, revision=3, id="e-3", metadata=_by("c-77")))


def _gap_in_positions(run: Run) -> None:
    run[2][-1] = replace(run[2][-1], position=5)
    run[1]["c-2"][0]["position"] = 5


def _gap_in_revisions(run: Run) -> None:
    run[2][-1] = replace(run[2][-1], revision=7)
    run[1]["c-2"] = [_ack(run[2][-1])]


def _unanswered(run: Run) -> None:
    del run[1]["c-9"]


def _answers_differ(run: Run) -> None:
    run[1]["c-9"].append({**run[1]["c-9"][0], "duplicate": True, "revision": 1})


def _new_twice(run: Run) -> None:
    run[1]["c-1"][1]["duplicate"] = False


def _refused_with_an_effect(run: Run) -> None:
    run[2].append(replace(run[2][-1], position=4, revision=3, id="e-3", metadata=_by("c-9")))


def _another_code(run: Run) -> None:
    run[1]["c-9"][0]["code"] = 404


def _out_of_order(run: Run) -> None:
    run[0][0], run[0][1] = run[0][1], run[0][0]


def test_a_good_run_has_no_fault() -> None:
    assert faults(*_good()) == []


@pytest.mark.parametrize(
    "spoil",
    [
        _lost,
        _done_twice,
        _never_sent,
        _gap_in_positions,
        _gap_in_revisions,
        _unanswered,
        _answers_differ,
        _new_twice,
        _refused_with_an_effect,
        _another_code,
        _out_of_order,
    ],
)
def test_every_broken_promise_is_found(spoil: Callable[[Run], None]) -> None:
    run = _good()
    spoil(run)
    assert faults(*run)
