import pytest

from gateway.domain.decider import Event
from gateway.domain.device_commands import Connect, Disconnect, Register
from gateway.domain.device_events import DeviceConnected, DeviceDisconnected, DeviceRegistered, FirmwareChanged
from tests.support.scenario import (
    CONNECTED,
    DECOMMISSIONED,
    EARLIER,
    NOW,
    REGISTERED,
    SUSPENDED,
    scenario,
    state_after,
)


def test_registering_makes_an_unknown_device_known() -> None:
    state = scenario.when(Register(model="T-1000", serial="17", firmware="1.0", attributes={"voltage": "400 V"})).then(
        DeviceRegistered(at=NOW, model="T-1000", serial="17", firmware="1.0", attributes={"voltage": "400 V"})
    )
    assert (state.lifecycle, state.status, state.registered_at) == ("active", "offline", NOW)
    assert (state.model, state.serial, state.firmware) == ("T-1000", "17", "1.0")
    assert state.attributes == {"voltage": "400 V"}


@pytest.mark.parametrize("since", [[], [CONNECTED], [SUSPENDED]])
def test_registering_again_with_the_same_data_changes_nothing(since: list[Event]) -> None:
    scenario.given(REGISTERED, *since).when(Register(model="T-1000")).unchanged()


@pytest.mark.parametrize(
    "other",
    [
        Register(model="T-2000"),
        Register(model="T-1000", serial="18"),
        Register(model="T-1000", firmware="1.1"),
        Register(model="T-1000", attributes={"voltage": "400 V"}),
    ],
)
def test_registering_again_with_other_data_is_refused(other: Register) -> None:
    scenario.given(REGISTERED).when(other).refused("already-registered")


@pytest.mark.parametrize("firmware", ["1.0", "2.0"])
def test_a_device_may_register_again_with_its_first_or_its_present_firmware(firmware: str) -> None:
    first = DeviceRegistered(at=EARLIER, model="T-1000", firmware="1.0")
    changed = FirmwareChanged(at=EARLIER, firmware="2.0", previous="1.0")
    scenario.given(first, CONNECTED, changed).when(Register(model="T-1000", firmware=firmware)).unchanged()


def test_registering_a_decommissioned_device_is_refused() -> None:
    scenario.given(REGISTERED, DECOMMISSIONED).when(Register(model="T-1000")).refused("decommissioned")


def test_connecting_begins_a_session() -> None:
    state = (
        scenario.given(REGISTERED).when(Connect(address="10.0.0.7")).then(DeviceConnected(at=NOW, address="10.0.0.7"))
    )
    assert (state.connected, state.status, state.address) == (True, "online", "10.0.0.7")
    assert state.connected_at == state.last_seen == NOW


def test_connecting_while_connected_begins_a_new_session() -> None:
    state = scenario.given(REGISTERED, CONNECTED).when(Connect()).then(DeviceConnected(at=NOW))
    assert state.connected_at == NOW


def test_connecting_with_other_firmware_also_says_that_it_changed() -> None:
    first = DeviceRegistered(at=EARLIER, model="T-1000", firmware="1.0")
    state = (
        scenario.given(first)
        .when(Connect(firmware="2.0"))
        .then(DeviceConnected(at=NOW), FirmwareChanged(at=NOW, firmware="2.0", previous="1.0"))
    )
    assert state.firmware == "2.0"


@pytest.mark.parametrize("firmware", ["1.0", None])
def test_connecting_with_the_known_firmware_or_none_says_nothing_of_firmware(firmware: str | None) -> None:
    first = DeviceRegistered(at=EARLIER, model="T-1000", firmware="1.0")
    scenario.given(first).when(Connect(firmware=firmware)).then(DeviceConnected(at=NOW))


def test_a_session_without_an_address_keeps_the_last_one() -> None:
    assert state_after(REGISTERED, DeviceConnected(at=EARLIER, address="10.0.0.7"), CONNECTED).address == "10.0.0.7"


def test_a_suspended_device_may_connect_and_still_counts_as_suspended() -> None:
    state = scenario.given(REGISTERED, SUSPENDED).when(Connect()).then(DeviceConnected(at=NOW))
    assert (state.connected, state.status) == (True, "suspended")


def test_a_decommissioned_device_may_not_connect() -> None:
    scenario.given(REGISTERED, DECOMMISSIONED).when(Connect()).refused("decommissioned")


def test_disconnecting_ends_the_session() -> None:
    state = (
        scenario.given(REGISTERED, CONNECTED)
        .when(Disconnect(reason="will"))
        .then(DeviceDisconnected(at=NOW, reason="will"))
    )
    assert (state.connected, state.status) == (False, "offline")
    assert state.disconnected_at == state.last_seen == NOW


@pytest.mark.parametrize("history", [[REGISTERED], [REGISTERED, CONNECTED, DECOMMISSIONED]])
def test_disconnecting_without_a_session_changes_nothing(history: list[Event]) -> None:
    scenario.given(*history).when(Disconnect()).unchanged()
