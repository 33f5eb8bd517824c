import pytest

from gateway.domain.decider import Command, Event
from gateway.domain.device import DEVICE
from gateway.domain.device_commands import (
    AcknowledgeAlarm,
    Annotate,
    ClearAlarm,
    Configure,
    Connect,
    Decommission,
    Disconnect,
    RaiseAlarm,
    Recommission,
    RefuseConfiguration,
    Report,
    Resume,
    Suspend,
)
from gateway.domain.device_events import (
    AlarmRaised,
    DeviceAnnotated,
    DeviceDecommissioned,
    DeviceDisconnected,
    DeviceRecommissioned,
    DeviceResumed,
    DeviceSuspended,
    PropertiesReported,
)
from gateway.domain.device_state import Configuration
from tests.support.scenario import (
    CONNECTED,
    DECOMMISSIONED,
    EARLIER,
    NOW,
    REGISTERED,
    SUSPENDED,
    WANTED_900_RPM,
    scenario,
)

NAMED = DeviceAnnotated(at=EARLIER, name="North pump", location="Hall 2", labels={"line": "4"})
ALL_BUT_REGISTER: list[Command] = [
    Connect(),
    Disconnect(),
    Report(properties={"rpm": 1}),
    Configure(properties={"rpm": 1}),
    RefuseConfiguration(version=1, reason="no"),
    RaiseAlarm(code="hot", severity="info"),
    AcknowledgeAlarm(code="hot"),
    ClearAlarm(code="hot"),
    Annotate(name="North pump"),
    Suspend(),
    Resume(),
    Decommission(reason="worn out"),
    Recommission(reason="repaired"),
]


@pytest.mark.parametrize("command", ALL_BUT_REGISTER, ids=lambda command: command.name)
def test_whatever_is_asked_of_an_unknown_device_is_refused(command: Command) -> None:
    scenario.when(command).refused("unknown-device", code=404)


def test_registering_is_all_that_can_be_asked_of_an_unknown_device() -> None:
    assert {command.name for command in DEVICE.commands} == {command.name for command in ALL_BUT_REGISTER} | {
        "register"
    }


@pytest.mark.parametrize("since", [[], [SUSPENDED], [DECOMMISSIONED]])
def test_annotating_gives_the_device_its_words_whatever_its_state(since: list[Event]) -> None:
    state = (
        scenario.given(REGISTERED, *since)
        .when(Annotate(name="North pump", location="Hall 2", labels={"line": "4"}))
        .then(DeviceAnnotated(at=NOW, name="North pump", location="Hall 2", labels={"line": "4"}))
    )
    assert (state.name, state.location, state.labels) == ("North pump", "Hall 2", {"line": "4"})


def test_annotating_tells_only_what_changed() -> None:
    state = (
        scenario.given(REGISTERED, NAMED)
        .when(Annotate(name="South pump", location="Hall 2"))
        .then(DeviceAnnotated(at=NOW, name="South pump"))
    )
    assert (state.name, state.location, state.labels) == ("South pump", "Hall 2", {"line": "4"})


def test_labels_take_the_place_of_all_labels_before() -> None:
    state = (
        scenario.given(REGISTERED, NAMED)
        .when(Annotate(labels={"team": "b"}))
        .then(DeviceAnnotated(at=NOW, labels={"team": "b"}))
    )
    assert state.labels == {"team": "b"}


def test_no_labels_remove_all_labels() -> None:
    state = scenario.given(REGISTERED, NAMED).when(Annotate(labels={})).then(DeviceAnnotated(at=NOW, labels={}))
    assert state.labels == {}


@pytest.mark.parametrize("command", [Annotate(), Annotate(name="North pump", labels={"line": "4"})])
def test_annotating_with_the_same_words_changes_nothing(command: Annotate) -> None:
    scenario.given(REGISTERED, NAMED).when(command).unchanged()


def test_suspending_shows_even_while_the_device_is_connected() -> None:
    state = (
        scenario.given(REGISTERED, CONNECTED)
        .when(Suspend(reason="audit"))
        .then(DeviceSuspended(at=NOW, reason="audit"))
    )
    assert (state.lifecycle, state.status, state.connected) == ("suspended", "suspended", True)


def test_resuming_shows_the_session_again() -> None:
    state = (
        scenario.given(REGISTERED, CONNECTED, SUSPENDED)
        .when(Resume(reason="done"))
        .then(DeviceResumed(at=NOW, reason="done"))
    )
    assert (state.lifecycle, state.status) == ("active", "online")


def test_suspending_a_suspended_device_changes_nothing() -> None:
    scenario.given(REGISTERED, SUSPENDED).when(Suspend()).unchanged()


def test_resuming_an_active_device_changes_nothing() -> None:
    scenario.given(REGISTERED).when(Resume()).unchanged()


@pytest.mark.parametrize("command", [Suspend(), Resume()])
def test_a_decommissioned_device_is_neither_suspended_nor_resumed(command: Command) -> None:
    scenario.given(REGISTERED, DECOMMISSIONED).when(command).refused("decommissioned")


@pytest.mark.parametrize("since", [[], [SUSPENDED]])
def test_decommissioning_ends_session_alarms_and_wishes_and_keeps_what_was_reported(since: list[Event]) -> None:
    hot = AlarmRaised(at=EARLIER, code="hot", severity="info")
    known = PropertiesReported(at=EARLIER, properties={"rpm": 1})
    state = (
        scenario.given(REGISTERED, CONNECTED, WANTED_900_RPM, hot, known, *since)
        .when(Decommission(reason="worn out"))
        .then(DeviceDecommissioned(at=NOW, reason="worn out"))
    )
    assert (state.lifecycle, state.status) == ("decommissioned", "decommissioned")
    assert (state.connected, state.disconnected_at) == (False, NOW)
    assert (state.alarms, state.desired, state.configuration) == ({}, {}, Configuration(1, "none"))
    assert state.reported == {"rpm": 1}


def test_decommissioning_an_offline_device_leaves_the_end_of_its_last_session() -> None:
    ended = DeviceDisconnected(at=EARLIER)
    state = (
        scenario.given(REGISTERED, CONNECTED, ended)
        .when(Decommission(reason="worn out"))
        .then(DeviceDecommissioned(at=NOW, reason="worn out"))
    )
    assert state.disconnected_at == EARLIER


def test_decommissioning_again_changes_nothing() -> None:
    scenario.given(REGISTERED, DECOMMISSIONED).when(Decommission(reason="still")).unchanged()


@pytest.mark.parametrize("before", [[], [SUSPENDED]])
def test_recommissioning_makes_the_device_active_and_offline(before: list[Event]) -> None:
    state = (
        scenario.given(REGISTERED, CONNECTED, *before, DECOMMISSIONED)
        .when(Recommission(reason="repaired"))
        .then(DeviceRecommissioned(at=NOW, reason="repaired"))
    )
    assert (state.lifecycle, state.status) == ("active", "offline")


@pytest.mark.parametrize("since", [[], [SUSPENDED], [DECOMMISSIONED, DeviceRecommissioned(at=EARLIER, reason="ok")]])
def test_a_device_in_service_cannot_be_recommissioned(since: list[Event]) -> None:
    scenario.given(REGISTERED, *since).when(Recommission(reason="repaired")).refused("not-decommissioned")
