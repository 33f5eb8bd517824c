from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.codec import StateCodec
from gateway.domain.decider import Context, Role
from gateway.domain.outages import (
    GATEWAY,
    KEPT,
    AcknowledgeOutage,
    GatewayState,
    Outage,
    OutageAcknowledged,
    OutageKind,
    OutageRecorded,
    RecordOutage,
)
from gateway.errors import NotFound

BEGAN = datetime(2026, 3, 1, 11, tzinfo=UTC)
ENDED = BEGAN + timedelta(minutes=5)
NOW = ENDED + timedelta(minutes=1)
ALICE = Context(NOW, "alice", Role.OPERATOR)


def recorded(outage: str, kind: OutageKind = "session") -> OutageRecorded:
    return OutageRecorded(at=NOW, outage=outage, kind=kind, began_at=BEGAN, ended_at=ENDED, cause="c", affected="a")


def after(*events: OutageRecorded | OutageAcknowledged) -> GatewayState:
    return GATEWAY.fold(events)


def test_an_outage_is_recorded_as_it_is_told() -> None:
    command = RecordOutage(
        outage="o1", kind="broker", began_at=BEGAN, ended_at=ENDED, times=3, cause="refused", affected="late states"
    )
    (event,) = GATEWAY.decide(command, after(), ALICE)
    assert event == OutageRecorded(
        at=NOW,
        outage="o1",
        kind="broker",
        began_at=BEGAN,
        ended_at=ENDED,
        times=3,
        cause="refused",
        affected="late states",
    )
    line = Outage("broker", BEGAN, ENDED, 3, "refused", "late states")
    assert GATEWAY.fold([event]) == GatewayState(outages={"o1": line}, counts={"broker": 1})


def test_a_lost_session_waits_for_an_operator() -> None:
    state = after(recorded("o1"), recorded("o2", "store"))
    assert list(state.unacknowledged) == ["o1"]
    assert list(state.outages) == ["o2"]


def test_an_operator_acknowledges_one_outage_with_a_note() -> None:
    state = after(recorded("o1"), recorded("o2"))
    events = GATEWAY.decide(AcknowledgeOutage(outage="o1", note="asked the devices"), state, ALICE)
    assert events == (OutageAcknowledged(at=NOW, outage="o1", by="alice", note="asked the devices"),)
    state = GATEWAY.fold(events, state)
    assert list(state.unacknowledged) == ["o2"]
    assert (state.outages["o1"].acknowledged_by, state.outages["o1"].note) == ("alice", "asked the devices")


def test_without_an_id_all_that_wait_are_acknowledged() -> None:
    state = after(recorded("o1"), recorded("o2"))
    state = GATEWAY.fold(GATEWAY.decide(AcknowledgeOutage(), state, ALICE), state)
    assert not state.unacknowledged
    assert list(state.outages) == ["o1", "o2"]


@pytest.mark.parametrize("outage", ["o1", None])
def test_what_is_acknowledged_already_changes_nothing(outage: str | None) -> None:
    state = after(recorded("o1"), OutageAcknowledged(at=NOW, outage="o1", by="bob"))
    assert GATEWAY.decide(AcknowledgeOutage(outage=outage), state, ALICE) == ()


def test_an_unknown_outage_cannot_be_acknowledged() -> None:
    with pytest.raises(NotFound, match="there is no outage o9") as refusal:
        GATEWAY.decide(AcknowledgeOutage(outage="o9"), after(recorded("o1")), ALICE)
    assert (refusal.value.type, refusal.value.value) == ("unknown-outage", "o9")


@pytest.mark.parametrize("kind", ["session", "broker"])
def test_the_state_shows_the_newest_and_counts_all(kind: OutageKind) -> None:
    state = after(*(recorded(f"o{number}", kind) for number in range(KEPT + 2)))
    shown = state.unacknowledged or state.outages
    assert list(shown) == [f"o{number}" for number in range(2, KEPT + 2)]
    assert state.counts == {kind: KEPT + 2}


def test_a_lost_session_that_is_not_shown_any_more_waits_until_all_that_wait_are_acknowledged() -> None:
    state = after(*(recorded(f"o{number}") for number in range(KEPT + 2)))
    assert state.unacknowledged_older == 2
    with pytest.raises(NotFound):
        GATEWAY.decide(AcknowledgeOutage(outage="o0"), state, ALICE)
    # one by one, those that are shown are
    for number in range(2, KEPT + 2):
        state = GATEWAY.fold(GATEWAY.decide(AcknowledgeOutage(outage=f"o{number}"), state, ALICE), state)
    assert (state.unacknowledged, state.unacknowledged_older) == ({}, 2)
    known = GATEWAY.decide(AcknowledgeOutage(note="seen"), state, ALICE)
    assert known == (OutageAcknowledged(at=NOW, outage="", by="alice", note="seen", older=2),)
    assert GATEWAY.fold(known, state).unacknowledged_older == 0


def test_an_acknowledgement_of_an_unknown_outage_takes_none_of_the_older_ones() -> None:
    state = after(*(recorded(f"o{number}") for number in range(KEPT + 2)))
    state = GATEWAY.fold([OutageAcknowledged(at=NOW, outage="o0", by="alice")], state)
    assert state.unacknowledged_older == 2


def test_nobody_may_record_an_outage_but_the_gateway_itself() -> None:
    assert not RecordOutage.issuers


def test_the_ledger_can_be_written_and_read_back() -> None:
    state = after(recorded("o1"), recorded("o2", "clock"), OutageAcknowledged(at=NOW, outage="o1", by="bob"))
    codec = StateCodec.of(GATEWAY)
    assert codec.from_json(codec.to_json(state)) == state
    assert codec.from_document(codec.to_document(replace(state))) == state
