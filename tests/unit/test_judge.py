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
    """Three reports, one that changed nothing, and a refusal, all as they should be."""
    sent = [Sent(DEVICE, DEVICE, "report", f"c-{number}", _properties(number), 200) for number in range(3)]
    place = f"device-{DEVICE}"
    log = [
        LoggedEvent(
            number + 1, place, number, f"e-{number}", "PropertiesReported", {"properties": changed}, _by(f"c-{number}")
        )
        # the pressure is the same each time: only the first event has it
        for number, changed in enumerate(({"rpm": 0, "bar": 7}, {"rpm": 1}, {"rpm": 2}))
    ]
    acks = {f"c-{number}": [_ack(event)] for number, event in enumerate(log)}
    acks["c-1"].append({**acks["c-1"][0], "duplicate": True, "epoch": 2})
    refused = Sent(DEVICE, DEVICE, "suspend", "c-9", {}, 403)
    acks["c-9"] = [{"code": 403, "duplicate": False, "epoch": 1, "revision": 2, "position": None, "events": []}]
    same = Sent(DEVICE, DEVICE, "report", "c-8", _properties(2), 204)
    acks["c-8"] = [{"code": 204, "duplicate": False, "epoch": 1, "revision": 2, "position": None, "events": []}]
    return [*sent, same, refused], acks, log


def _properties(rpm: int) -> Body:
    return {"properties": {"rpm": rpm, "bar": 7}}


def _by(command_id: str) -> Body:
    return {"actor": DEVICE, "command_id": command_id}


def _ack(event: LoggedEvent) -> Body:
    told = {"id": event.id, "type": event.type, "revision": event.revision}
    place = {"revision": event.revision, "position": event.position}
    return {"code": 200, "duplicate": False, "epoch": 1, **place, "events": [told]}


def _accepted_without_an_effect(run: Run) -> None:
    run[0].insert(0, Sent(DEVICE, DEVICE, "report", "c-7", _properties(5), 200))
    run[1]["c-7"] = [{"code": 200, "duplicate": False, "epoch": 1, "revision": 2, "position": None, "events": []}]


def _unchanged_with_an_effect(run: Run) -> None:
    run[2].append(replace(run[2][-1], position=4, revision=3, id="e-3", metadata=_by("c-8")))
    run[1]["c-8"] = [{**_ack(run[2][-1]), "code": 204}]


def _other_content(run: Run) -> None:
    run[2][1] = replace(run[2][1], data={"properties": {"rpm": 7}})


def _more_than_was_sent(run: Run) -> None:
    run[2][1] = replace(run[2][1], data={"properties": {"rpm": 1, "noise": 3}})


def _less_than_was_sent(run: Run) -> None:
    run[2][0] = replace(run[2][0], data={"properties": {"rpm": 0}})


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


def test_order_is_judged_among_those_that_cannot_have_been_forgotten() -> None:
    run = _good()
    _out_of_order(run)
    assert faults(*run)
    assert faults(*run, forgotten={run[0][0].key}) == []
    run[0].insert(0, run[0].pop(2))
    assert faults(*run, forgotten={run[0][2].key})


@pytest.mark.parametrize(
    "spoil",
    [
        _accepted_without_an_effect,
        _unchanged_with_an_effect,
        _other_content,
        _more_than_was_sent,
        _less_than_was_sent,
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
