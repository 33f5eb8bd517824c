from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from pydantic import JsonValue

from gateway.codec import StateCodec
from gateway.domain import device_events as events
from gateway.domain.decider import Decider, Document, Event
from gateway.domain.device import DEVICE
from gateway.domain.outages import GATEWAY
from gateway.homeassistant import MOST_PROPERTIES, Discovery
from gateway.topics import Topics
from tests.support.counter_decider import COUNTER
from tests.support.home_assistant import UNAVAILABLE, UNKNOWN, HomeAssistant
from tests.support.requests import NOW

TOPICS = Topics("edge/gw1")
DISCOVERY = Discovery(TOPICS, "gw1", "homeassistant")
REGISTERED = events.DeviceRegistered(at=NOW, model="T-1000", serial="S-1", firmware="1.2")
CONNECTED = events.DeviceConnected(at=NOW)
DISCONNECTED = events.DeviceDisconnected(at=NOW)
HOT = events.AlarmRaised(at=NOW, code="hot", severity="critical", message="it's <hot>")
DECOMMISSIONED = events.DeviceDecommissioned(at=NOW, reason="old")


class House:
    """A Home Assistant that hears of one device after each of its events."""

    def __init__(self, device: str = "pump-7") -> None:
        self.device = device
        self.home = HomeAssistant()
        self.history: list[Event] = []
        self.gateway("online")

    def gateway(self, state: str) -> None:
        self.home.hear(TOPICS.status, orjson.dumps({"state": state}))

    def happen(self, *happened: Event) -> None:
        document = self.announce(*happened)
        state = DEVICE.fold(self.history)
        self.home.hear(TOPICS.state(self.device), b"" if DEVICE.is_retired(state) else orjson.dumps(document))

    def announce(self, *happened: Event) -> Document:
        """As happen, but the new state is still on its way."""
        self.history += happened
        document: Document = {"id": self.device, **StateCodec.of(DEVICE).to_document(DEVICE.fold(self.history))}
        message = DISCOVERY(DEVICE, document)
        assert message is not None
        self.home.hear(*message)
        return document

    def report(self, **properties: JsonValue) -> None:
        self.happen(events.PropertiesReported(at=NOW, properties=properties))

    def show(self, component: str) -> str:
        return self.home.show(f"{self.key}.{component}")

    @property
    def key(self) -> str:
        [config] = self.home.devices.values()
        [key] = config["device"]["identifiers"]
        return str(key)

    @property
    def properties(self) -> dict[str, str]:
        """Platform by component, of what the device has reported."""
        found = {id.removeprefix(f"{self.key}."): platform for platform, id in self.home.entities}
        return {id: platform for id, platform in found.items() if "." in id}

    def entity(self, component: str) -> dict[str, Any]:
        [config] = [one for (_, id), one in self.home.entities.items() if id == f"{self.key}.{component}"]
        return config


@pytest.fixture
def house() -> House:
    one = House()
    one.happen(REGISTERED, CONNECTED)
    return one


def test_a_device_appears_with_its_model_serial_number_and_firmware(house: House) -> None:
    house.happen(events.DeviceAnnotated(at=NOW, name="Well pump", location="Cellar"))
    [(topic, config)] = house.home.devices.items()
    assert topic == "homeassistant/device/gw1__pump-7/config"
    assert config["device"] == {
        "identifiers": ["gw1__pump-7"],
        "name": "Well pump",
        "model": "T-1000",
        "serial_number": "S-1",
        "sw_version": "1.2",
        "suggested_area": "Cellar",
    }


def test_a_device_without_a_name_appears_under_its_id() -> None:
    house = House("pump.7:b")
    house.happen(events.DeviceRegistered(at=NOW, model="T"))
    [config] = house.home.devices.values()
    assert config["device"] == {"identifiers": [house.key], "name": "pump.7:b", "model": "T"}


def test_devices_whose_names_differ_never_share_a_topic() -> None:
    names = [(gateway, device) for gateway in ("g", "g_", "g-", "g.") for device in ("a", "_a", "-a", ".a", "_2ea")]
    topics = set()
    for gateway, device in names:
        message = Discovery(TOPICS, gateway, "homeassistant")(
            DEVICE, {"id": device, **StateCodec.of(DEVICE).to_document(DEVICE.initial)}
        )
        assert message is not None
        HomeAssistant().hear(*message)
        topics.add(message[0])
    assert len(topics) == len(names)


def test_reported_values_appear_by_their_kind(house: House) -> None:
    house.report(rpm=900, open=True, **{"motor.mode": "auto"})
    assert house.properties == {
        "reported.rpm": "sensor",
        "flag.open": "binary_sensor",
        "reported.motor.mode": "sensor",
    }
    assert [house.show(id) for id in house.properties] == ["900", "on", "auto"]
    assert [house.entity(id)["name"] for id in house.properties] == ["Rpm", "Open", "Motor mode"]


def test_a_value_that_changes_is_shown_anew(house: House) -> None:
    house.report(rpm=900, open=True)
    house.report(rpm=12.5, open=False)
    assert [house.show("reported.rpm"), house.show("flag.open")] == ["12.5", "off"]


def test_a_value_is_unknown_until_its_first_state_comes(house: House) -> None:
    house.announce(events.PropertiesReported(at=NOW, properties={"rpm": 900, "open": True, "mode": "auto"}))
    assert [house.show(id) for id in house.properties] == [UNKNOWN] * 3


def test_arrays_and_objects_do_not_appear(house: House) -> None:
    house.report(curve=[1, 2], limits={"low": 1})
    assert house.properties == {}


def test_a_value_that_is_not_known_any_more_is_unknown(house: House) -> None:
    house.report(rpm=900, open=True, mode="auto")
    house.report(rpm=None, open=None, mode=None)
    assert [house.show(id) for id in house.properties] == [UNKNOWN] * 3


def test_a_value_of_another_kind_than_before_takes_the_place_of_the_older_one(house: House) -> None:
    house.report(door=True, level="low")
    house.report(door="ajar", level=True)
    assert house.properties == {"reported.door": "sensor", "flag.level": "binary_sensor"}
    house.report(door=3, level=4)
    assert house.properties == {"reported.door": "sensor", "reported.level": "sensor"}
    assert [house.show("reported.door"), house.show("reported.level")] == ["3", "4"]


def test_a_text_that_is_too_long_to_be_shown_is_cut(house: House) -> None:
    house.report(note="x" * 300)
    assert house.show("reported.note") == "x" * 255


@pytest.mark.parametrize(
    ("name", "kind", "unit"),
    [
        ("motor_celsius", "temperature", "°C"),
        ("oil.bar", "pressure", "bar"),
        ("rpm", None, "rpm"),
        ("level", None, None),
    ],
)
def test_a_unit_is_told_where_the_name_states_it(house: House, name: str, kind: str | None, unit: str | None) -> None:
    house.report(**{name: 20.5})
    entity = house.entity(f"reported.{name}")
    assert (entity.get("device_class"), entity.get("unit_of_measurement")) == (kind, unit)
    assert entity["state_class"] == "measurement"


def test_every_unit_that_is_told_is_one_that_home_assistant_knows(house: House) -> None:
    from gateway.homeassistant import _UNITS

    house.report(**dict.fromkeys(_UNITS, 1))
    assert len(house.properties) == len(_UNITS)


def test_only_so_many_properties_appear_and_they_stay_the_same(house: House) -> None:
    house.report(**{f"p{number}": number for number in range(MOST_PROPERTIES)})
    before = house.properties
    house.report(a=1, p0=None)
    assert (len(before), house.properties) == (MOST_PROPERTIES, before)


def test_a_device_shows_whether_it_is_connected_and_when_it_was_seen_last(house: House) -> None:
    assert [house.show(id) for id in ("connection", "status")] == ["on", "online"]
    house.happen(events.DeviceDisconnected(at=NOW + timedelta(seconds=5)))
    assert [house.show(id) for id in ("connection", "status")] == ["off", "offline"]
    assert house.show("last_seen") == "2026-03-01T12:00:05Z"


def test_a_device_that_was_never_seen_says_so() -> None:
    house = House()
    house.happen(REGISTERED)
    assert [house.show(id) for id in ("connection", "last_seen")] == ["off", UNKNOWN]


def test_values_are_unavailable_while_the_device_is_away_or_suspended(house: House) -> None:
    house.report(rpm=900)
    house.happen(DISCONNECTED)
    assert house.show("reported.rpm") == UNAVAILABLE
    house.happen(CONNECTED)
    assert house.show("reported.rpm") == "900"
    house.happen(events.DeviceSuspended(at=NOW))
    assert (house.show("reported.rpm"), house.show("status")) == (UNAVAILABLE, "suspended")


def test_values_of_a_device_that_never_connects_are_available() -> None:
    house = House()
    house.happen(REGISTERED)
    house.report(rpm=900)
    assert house.show("reported.rpm") == "900"


def test_everything_is_unavailable_while_the_gateway_is_away(house: House) -> None:
    house.report(rpm=900)
    house.gateway("offline")
    assert {house.show(id) for id in ("reported.rpm", "connection", "alarm", "status")} == {UNAVAILABLE}


def test_alarms_are_shown_also_of_a_device_that_is_away(house: House) -> None:
    house.happen(DISCONNECTED)
    assert [house.show(id) for id in ("alarm", "alarms")] == ["off", "0"]
    house.happen(HOT)
    assert [house.show(id) for id in ("alarm", "alarms")] == ["on", "1"]
    assert house.home.attributes(f"{house.key}.alarm")["hot"]["message"] == "it's <hot>"


def test_the_configuration_shows_how_far_the_device_is(house: House) -> None:
    assert house.show("configuration") == "none"
    house.happen(events.ConfigurationRequested(at=NOW, configuration=1, properties={"rpm": 1200}))
    assert house.show("configuration") == "pending"
    assert house.properties == {}  # what is only desired is not shown as a value


def test_a_decommissioned_device_disappears_and_comes_back_when_it_is_recommissioned(house: House) -> None:
    house.report(rpm=900)
    house.happen(DECOMMISSIONED)
    assert (house.home.devices, house.home.entities) == ({}, {})
    house.happen(events.DeviceRecommissioned(at=NOW, reason="repaired"))
    assert house.properties == {"reported.rpm": "sensor"}


@pytest.mark.parametrize(
    "decider", [GATEWAY, replace(COUNTER, collection=DEVICE.collection)], ids=["gateway", "counter"]
)
def test_what_is_no_device_does_not_appear(decider: Decider[Any]) -> None:
    assert DISCOVERY(decider, {"id": "gw1"}) is None
