import pytest

from gateway.domain.decider import Event
from gateway.domain.device_commands import MAX_ALARMS, AcknowledgeAlarm, ClearAlarm, RaiseAlarm
from gateway.domain.device_events import AlarmAcknowledged, AlarmCleared, AlarmRaised
from gateway.domain.device_state import Alarm
from tests.support.scenario import DECOMMISSIONED, EARLIER, NOW, REGISTERED, SUSPENDED, scenario

HOT = AlarmRaised(at=EARLIER, code="hot", severity="warning", message="80 degrees")
SEEN = AlarmAcknowledged(at=EARLIER, code="hot", by="bob")


@pytest.mark.parametrize("since", [[], [SUSPENDED]])
def test_an_alarm_is_raised(since: list[Event]) -> None:
    command = RaiseAlarm(code="hot", severity="warning", message="80 degrees")
    state = (
        scenario.given(REGISTERED, *since)
        .when(command)
        .then(AlarmRaised(at=NOW, code="hot", severity="warning", message="80 degrees"))
    )
    assert state.alarms == {"hot": Alarm("hot", "warning", "80 degrees", NOW)}


@pytest.mark.parametrize("message", [None, "81 degrees"])
def test_an_alarm_that_is_active_with_the_same_severity_is_not_raised_again(message: str | None) -> None:
    command = RaiseAlarm(code="hot", severity="warning", message=message)
    scenario.given(REGISTERED, HOT).when(command).unchanged()


def test_an_alarm_raised_with_another_severity_has_to_be_acknowledged_again() -> None:
    state = (
        scenario.given(REGISTERED, HOT, SEEN)
        .when(RaiseAlarm(code="hot", severity="critical"))
        .then(AlarmRaised(at=NOW, code="hot", severity="critical"))
    )
    assert state.alarms["hot"] == Alarm("hot", "critical", None, NOW)


def test_a_cleared_alarm_is_raised_again() -> None:
    cleared = AlarmCleared(at=EARLIER, code="hot")
    scenario.given(REGISTERED, HOT, cleared).when(RaiseAlarm(code="hot", severity="warning")).then(
        AlarmRaised(at=NOW, code="hot", severity="warning")
    )


def test_no_alarm_is_raised_on_a_decommissioned_device() -> None:
    scenario.given(REGISTERED, DECOMMISSIONED).when(RaiseAlarm(code="hot", severity="info")).refused("decommissioned")


def test_more_active_alarms_than_the_limit_are_refused_but_an_active_one_may_get_worse() -> None:
    many = [AlarmRaised(at=EARLIER, code=f"a{number}", severity="info") for number in range(MAX_ALARMS)]
    full = scenario.given(REGISTERED, *many)
    full.when(RaiseAlarm(code="one-more", severity="info")).refused("too-many-alarms")
    full.when(RaiseAlarm(code="a0", severity="critical")).then(AlarmRaised(at=NOW, code="a0", severity="critical"))


def test_acknowledging_says_who_knows() -> None:
    state = (
        scenario.given(REGISTERED, HOT)
        .when(AcknowledgeAlarm(code="hot", note="on my way"))
        .then(AlarmAcknowledged(at=NOW, code="hot", by="alice", note="on my way"))
    )
    assert state.alarms["hot"] == Alarm("hot", "warning", "80 degrees", EARLIER, NOW, "alice", "on my way")


def test_acknowledging_what_somebody_acknowledged_changes_nothing() -> None:
    scenario.given(REGISTERED, HOT, SEEN).when(AcknowledgeAlarm(code="hot", note="me too")).unchanged()


@pytest.mark.parametrize("history", [[], [HOT, AlarmCleared(at=EARLIER, code="hot")], [HOT, DECOMMISSIONED]])
def test_acknowledging_an_alarm_that_is_not_active_is_refused(history: list[Event]) -> None:
    refusal = scenario.given(REGISTERED, *history).when(AcknowledgeAlarm(code="hot")).refused("alarm-not-active")
    assert (refusal.field, refusal.value) == ("data.code", "hot")


def test_clearing_ends_that_alarm_and_no_other() -> None:
    wet = AlarmRaised(at=EARLIER, code="wet", severity="info")
    state = scenario.given(REGISTERED, HOT, wet).when(ClearAlarm(code="hot")).then(AlarmCleared(at=NOW, code="hot"))
    assert list(state.alarms) == ["wet"]


@pytest.mark.parametrize("history", [[], [HOT, DECOMMISSIONED]])
def test_clearing_an_alarm_that_is_not_active_changes_nothing(history: list[Event]) -> None:
    scenario.given(REGISTERED, *history).when(ClearAlarm(code="hot")).unchanged()
