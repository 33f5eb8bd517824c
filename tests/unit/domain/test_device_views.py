from gateway.domain.device import DEVICE
from gateway.domain.device_events import (
    AlarmAcknowledged,
    AlarmRaised,
    ConfigurationRequested,
    DeviceRecommissioned,
)
from tests.support.scenario import (
    CONNECTED,
    DECOMMISSIONED,
    EARLIER,
    REGISTERED,
    SUSPENDED,
    WANTED_900_RPM,
    state_after,
)

WITHDRAWN = ConfigurationRequested(at=EARLIER, configuration=2, properties={"rpm": None})


def test_an_unknown_device_counts_for_nothing() -> None:
    assert DEVICE.facets(DEVICE.initial) == {}
    assert DEVICE.initial.status == "unknown"


def test_a_device_counts_by_model_and_status() -> None:
    assert DEVICE.facets(state_after(REGISTERED, CONNECTED)) == {"model": "T-1000", "status": "online"}


def test_out_of_service_counts_before_suspended_and_suspended_before_online() -> None:
    assert DEVICE.facets(state_after(REGISTERED, CONNECTED, SUSPENDED))["status"] == "suspended"
    assert DEVICE.facets(state_after(REGISTERED, SUSPENDED, DECOMMISSIONED))["status"] == "decommissioned"


def test_only_a_decommissioned_device_is_retired() -> None:
    back = DeviceRecommissioned(at=EARLIER, reason="repaired")
    stages = [DEVICE.initial, *(state_after(*story) for story in ([REGISTERED], [REGISTERED, SUSPENDED]))]
    assert not any(map(DEVICE.is_retired, stages))
    assert DEVICE.is_retired(state_after(REGISTERED, DECOMMISSIONED))
    assert not DEVICE.is_retired(state_after(REGISTERED, DECOMMISSIONED, back))


def test_a_device_that_was_never_configured_has_no_configuration() -> None:
    assert DEVICE.desired(state_after(REGISTERED)) is None


def test_the_configuration_is_all_that_is_desired_with_its_version() -> None:
    more = ConfigurationRequested(at=EARLIER, configuration=2, properties={"mode": "eco"})
    assert DEVICE.desired(state_after(REGISTERED, WANTED_900_RPM, more)) == {
        "version": 2,
        "properties": {"rpm": 900, "mode": "eco"},
    }


def test_a_configuration_that_was_withdrawn_is_empty() -> None:
    assert DEVICE.desired(state_after(REGISTERED, WANTED_900_RPM, WITHDRAWN)) == {}
    assert DEVICE.desired(state_after(REGISTERED, WANTED_900_RPM, DECOMMISSIONED)) == {}


def test_each_active_alarm_is_a_row() -> None:
    hot = AlarmRaised(at=EARLIER, code="hot", severity="warning", message="80 degrees")
    wet = AlarmRaised(at=EARLIER, code="wet", severity="info")
    seen = AlarmAcknowledged(at=EARLIER, code="hot", by="bob", note="on my way")
    at = "2026-03-01T11:00:00Z"
    assert DEVICE.rows["alarms"](state_after(REGISTERED, hot, wet, seen)) == {
        "hot": {
            "code": "hot",
            "severity": "warning",
            "message": "80 degrees",
            "raised_at": at,
            "acknowledged_at": at,
            "acknowledged_by": "bob",
            "note": "on my way",
        },
        "wet": {
            "code": "wet",
            "severity": "info",
            "message": None,
            "raised_at": at,
            "acknowledged_at": None,
            "acknowledged_by": None,
            "note": None,
        },
    }
