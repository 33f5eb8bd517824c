from datetime import timedelta

import pytest
from pydantic import JsonValue

from gateway.domain.decider import Event
from gateway.domain.device_commands import MAX_PROPERTIES, Configure, RefuseConfiguration, Report
from gateway.domain.device_events import (
    ConfigurationApplied,
    ConfigurationRefused,
    ConfigurationRequested,
    DeviceRecommissioned,
    PropertiesReported,
)
from gateway.domain.device_state import Configuration
from tests.support.scenario import (
    DECOMMISSIONED,
    EARLIER,
    NOW,
    REGISTERED,
    SUSPENDED,
    WANTED_900_RPM,
    scenario,
    state_after,
)

REFUSED = ConfigurationRefused(at=EARLIER, configuration=1, reason="too fast")


def reported(**properties: JsonValue) -> PropertiesReported:
    return PropertiesReported(at=EARLIER, properties=properties)


def numbered(count: int, first: int = 0) -> dict[str, JsonValue]:
    return {f"p{number}": 1 for number in range(first, first + count)}


def test_a_report_tells_only_what_changed() -> None:
    report = Report(properties={"rpm": 950, "heat": 41.5, "new": None})
    state = (
        scenario.given(REGISTERED, reported(rpm=900, heat=41.5))
        .when(report)
        .then(PropertiesReported(at=NOW, properties={"rpm": 950, "new": None}))
    )
    assert state.reported == {"rpm": 950, "heat": 41.5, "new": None}
    assert state.reported_at == {"rpm": NOW, "heat": EARLIER, "new": NOW}
    assert state.last_seen == NOW


def test_a_report_that_says_when_it_was_measured_counts_from_then() -> None:
    measured = NOW - timedelta(minutes=5)
    state = (
        scenario.given(REGISTERED)
        .when(Report(properties={"rpm": 1}, measured_at=measured))
        .then(PropertiesReported(at=NOW, properties={"rpm": 1}, measured_at=measured))
    )
    assert state.reported_at == {"rpm": measured}


def test_a_report_of_what_is_known_changes_nothing() -> None:
    scenario.given(REGISTERED, reported(rpm=900)).when(Report(properties={"rpm": 900})).unchanged()


@pytest.mark.parametrize(
    ("known", "value"),
    [
        (1, True),
        (False, 0),
        (None, False),
        ([1], [True]),
        ([1], [1, 1]),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1, "b": 1}),
        ("1", 1),
        ([], {}),
    ],
)
def test_values_that_differ_as_json_are_a_change(known: JsonValue, value: JsonValue) -> None:
    scenario.given(REGISTERED, reported(a=known)).when(Report(properties={"a": value})).then(
        PropertiesReported(at=NOW, properties={"a": value})
    )


@pytest.mark.parametrize(("known", "value"), [(1, 1.0), ([{"a": 2}], [{"a": 2.0}]), (True, True)])
def test_values_that_are_equal_as_json_are_no_change(known: JsonValue, value: JsonValue) -> None:
    scenario.given(REGISTERED, reported(a=known)).when(Report(properties={"a": value})).unchanged()


@pytest.mark.parametrize(("forbidden", "type"), [(SUSPENDED, "suspended"), (DECOMMISSIONED, "decommissioned")])
def test_a_device_out_of_use_may_not_report(forbidden: Event, type: str) -> None:
    scenario.given(REGISTERED, forbidden).when(Report(properties={"rpm": 1})).refused(type)


def test_a_report_that_matches_all_that_is_desired_applies_the_configuration() -> None:
    state = (
        scenario.given(REGISTERED, WANTED_900_RPM)
        .when(Report(properties={"rpm": 900}))
        .then(PropertiesReported(at=NOW, properties={"rpm": 900}), ConfigurationApplied(at=NOW, configuration=1))
    )
    assert state.configuration == Configuration(1, "applied")


def test_a_report_that_matches_a_part_of_what_is_desired_leaves_it_pending() -> None:
    wanted = ConfigurationRequested(at=EARLIER, configuration=1, properties={"rpm": 900, "mode": "eco"})
    state = (
        scenario.given(REGISTERED, wanted)
        .when(Report(properties={"rpm": 900}))
        .then(PropertiesReported(at=NOW, properties={"rpm": 900}))
    )
    assert state.configuration == Configuration(1, "pending")


def test_a_report_without_a_change_applies_what_is_pending_and_matches() -> None:
    scenario.given(REGISTERED, WANTED_900_RPM, reported(rpm=900)).when(Report(properties={"rpm": 900})).then(
        ConfigurationApplied(at=NOW, configuration=1)
    )


def test_a_refused_configuration_is_not_applied_by_a_report() -> None:
    scenario.given(REGISTERED, WANTED_900_RPM, REFUSED).when(Report(properties={"rpm": 900})).then(
        PropertiesReported(at=NOW, properties={"rpm": 900})
    )


def test_configuring_asks_for_values_and_shows_none_of_them_as_reported() -> None:
    state = (
        scenario.given(REGISTERED)
        .when(Configure(properties={"rpm": 900}))
        .then(ConfigurationRequested(at=NOW, configuration=1, properties={"rpm": 900}))
    )
    assert (state.desired, state.reported) == ({"rpm": 900}, {})
    assert state.configuration == Configuration(1, "pending")


def test_configuring_merges_into_what_is_desired_under_the_next_version() -> None:
    state = (
        scenario.given(REGISTERED, WANTED_900_RPM)
        .when(Configure(properties={"mode": "eco"}))
        .then(ConfigurationRequested(at=NOW, configuration=2, properties={"mode": "eco"}))
    )
    assert state.desired == {"rpm": 900, "mode": "eco"}


@pytest.mark.parametrize("properties", [{"rpm": 900}, {"rpm": 900.0}, {"mode": None}, {"rpm": 900, "mode": None}])
def test_configuring_what_is_desired_already_changes_nothing(properties: dict[str, JsonValue]) -> None:
    scenario.given(REGISTERED, WANTED_900_RPM).when(Configure(properties=properties)).unchanged()


def test_configuring_true_where_1_is_desired_is_a_change() -> None:
    wanted = ConfigurationRequested(at=EARLIER, configuration=1, properties={"on": 1})
    scenario.given(REGISTERED, wanted).when(Configure(properties={"on": True})).then(
        ConfigurationRequested(at=NOW, configuration=2, properties={"on": True})
    )


def test_configuring_what_is_reported_already_is_applied_at_once() -> None:
    state = (
        scenario.given(REGISTERED, reported(rpm=900))
        .when(Configure(properties={"rpm": 900}))
        .then(
            ConfigurationRequested(at=NOW, configuration=1, properties={"rpm": 900}),
            ConfigurationApplied(at=NOW, configuration=1),
        )
    )
    assert state.configuration == Configuration(1, "applied")


def test_withdrawing_the_last_wish_leaves_nothing_pending() -> None:
    state = (
        scenario.given(REGISTERED, WANTED_900_RPM)
        .when(Configure(properties={"rpm": None}))
        .then(ConfigurationRequested(at=NOW, configuration=2, properties={"rpm": None}))
    )
    assert (state.desired, state.configuration) == ({}, Configuration(2, "none"))


def test_withdrawing_the_wish_that_did_not_match_applies_the_rest() -> None:
    wanted = ConfigurationRequested(at=EARLIER, configuration=1, properties={"rpm": 900, "mode": "eco"})
    scenario.given(REGISTERED, wanted, reported(rpm=900)).when(Configure(properties={"mode": None})).then(
        ConfigurationRequested(at=NOW, configuration=2, properties={"mode": None}),
        ConfigurationApplied(at=NOW, configuration=2),
    )


def test_a_suspended_device_may_be_configured() -> None:
    scenario.given(REGISTERED, SUSPENDED).when(Configure(properties={"rpm": 900})).then(
        ConfigurationRequested(at=NOW, configuration=1, properties={"rpm": 900})
    )


def test_a_decommissioned_device_may_not_be_configured() -> None:
    scenario.given(REGISTERED, DECOMMISSIONED).when(Configure(properties={"rpm": 900})).refused("decommissioned")


def test_versions_go_on_rising_after_a_device_was_out_of_service() -> None:
    back = DeviceRecommissioned(at=EARLIER, reason="repaired")
    scenario.given(REGISTERED, WANTED_900_RPM, DECOMMISSIONED, back).when(Configure(properties={"rpm": 900})).then(
        ConfigurationRequested(at=NOW, configuration=2, properties={"rpm": 900})
    )


def test_a_device_refuses_the_pending_version_with_its_reason() -> None:
    state = (
        scenario.given(REGISTERED, WANTED_900_RPM)
        .when(RefuseConfiguration(version=1, reason="too fast"))
        .then(ConfigurationRefused(at=NOW, configuration=1, reason="too fast"))
    )
    assert state.configuration == Configuration(1, "refused", "too fast")


@pytest.mark.parametrize(
    "history",
    [
        [],
        [WANTED_900_RPM, REFUSED],
        [WANTED_900_RPM, ConfigurationApplied(at=EARLIER, configuration=1)],
        [WANTED_900_RPM, ConfigurationRequested(at=EARLIER, configuration=2, properties={"rpm": 800})],
        [WANTED_900_RPM, DECOMMISSIONED],
    ],
    ids=["never asked", "refused", "applied", "replaced", "decommissioned"],
)
def test_a_version_that_is_not_pending_cannot_be_refused(history: list[Event]) -> None:
    refusal = (
        scenario.given(REGISTERED, *history)
        .when(RefuseConfiguration(version=1, reason="no"))
        .refused("version-not-pending")
    )
    assert (refusal.field, refusal.value) == ("data.version", 1)


def test_configuring_after_a_refusal_is_pending_again() -> None:
    state = state_after(
        REGISTERED,
        WANTED_900_RPM,
        REFUSED,
        ConfigurationRequested(at=EARLIER, configuration=2, properties={"rpm": 800}),
    )
    assert state.configuration == Configuration(2, "pending")


def test_a_device_may_have_as_many_properties_as_the_limit_says() -> None:
    known = PropertiesReported(at=EARLIER, properties=numbered(MAX_PROPERTIES - 1))
    scenario.given(REGISTERED, known).when(Report(properties={"last": 1})).then(
        PropertiesReported(at=NOW, properties={"last": 1})
    )


@pytest.mark.parametrize("command", [Report(properties={"more": 1}), Configure(properties={"more": 1})])
def test_one_property_too_many_is_refused_whether_reported_or_desired(command: Report | Configure) -> None:
    known = PropertiesReported(at=EARLIER, properties=numbered(200))
    wanted = ConfigurationRequested(at=EARLIER, configuration=1, properties=numbered(MAX_PROPERTIES - 200, 200))
    scenario.given(REGISTERED, known, wanted).when(command).refused("too-many-properties")


def test_a_property_that_is_both_reported_and_desired_counts_once() -> None:
    known = PropertiesReported(at=EARLIER, properties=numbered(MAX_PROPERTIES))
    scenario.given(REGISTERED, known).when(Configure(properties={"p0": 2})).then(
        ConfigurationRequested(at=NOW, configuration=1, properties={"p0": 2})
    )


def test_a_wish_withdrawn_makes_room_for_another_in_the_same_command() -> None:
    wanted = ConfigurationRequested(at=EARLIER, configuration=1, properties=numbered(MAX_PROPERTIES))
    swap: dict[str, JsonValue] = {"p0": None, "other": 1}
    scenario.given(REGISTERED, wanted).when(Configure(properties=swap)).then(
        ConfigurationRequested(at=NOW, configuration=2, properties=swap)
    )
