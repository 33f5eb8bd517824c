"""Home Assistant's side of MQTT device discovery, from its published rules: what it accepts, and what it then shows.

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload and the pages of sensor.mqtt and
binary_sensor.mqtt. Knows nothing of the gateway.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

TOPIC: Final = re.compile(r"homeassistant/device/(?:[a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config")
LONGEST_STATE: Final = 255
UNAVAILABLE, UNKNOWN = "unavailable", "unknown"

ABBREVIATIONS: Final = {
    "avty": "availability",
    "avty_mode": "availability_mode",
    "cmps": "components",
    "dev": "device",
    "dev_cla": "device_class",
    "ent_cat": "entity_category",
    "json_attr_t": "json_attributes_topic",
    "json_attr_tpl": "json_attributes_template",
    "o": "origin",
    "ops": "options",
    "p": "platform",
    "pl_avail": "payload_available",
    "pl_not_avail": "payload_not_available",
    "pl_off": "payload_off",
    "pl_on": "payload_on",
    "stat_cla": "state_class",
    "stat_t": "state_topic",
    "t": "topic",
    "uniq_id": "unique_id",
    "unit_of_meas": "unit_of_measurement",
    "val_tpl": "value_template",
}
OF_DEVICE: Final = {
    "ids": "identifiers",
    "name": "name",
    "mf": "manufacturer",
    "mdl": "model",
    "sw": "sw_version",
    "hw": "hw_version",
    "sn": "serial_number",
    "sa": "suggested_area",
}
OF_ORIGIN: Final = {"name": "name", "sw": "sw_version", "url": "support_url"}

SHARED: Final = {"availability", "availability_mode", "state_topic", "qos", "encoding"}
ENTITY: Final = SHARED | {
    "device_class",
    "entity_category",
    "json_attributes_topic",
    "json_attributes_template",
    "name",
    "platform",
    "unique_id",
    "value_template",
}
OPTIONS: Final = {
    "sensor": ENTITY | {"options", "state_class", "unit_of_measurement"},
    "binary_sensor": ENTITY | {"payload_on", "payload_off"},
}
UNITS: Final[Mapping[str, set[str]]] = {
    "current": {"A", "mA"},
    "frequency": {"Hz", "kHz", "MHz", "GHz"},
    "illuminance": {"lx"},
    "power": {"mW", "W", "kW", "MW"},
    "pressure": {"Pa", "hPa", "kPa", "bar", "mbar", "psi"},
    "temperature": {"°C", "°F", "K"},
    "voltage": {"mV", "V", "kV"},
}
BINARY_CLASSES: Final = {"connectivity", "problem"}
STATE_CLASSES: Final = {"measurement", "total", "total_increasing"}

Config = dict[str, Any]


class HomeAssistant:
    """What has appeared, and what its entities show.

    Attributes:
        devices: the discovery message of each device in full words, by topic.
        topics: the newest payload of every other topic.
        entities: the configuration of each entity, by (platform, unique id).
    """

    def __init__(self) -> None:
        self.devices: dict[str, Config] = {}
        self.topics: dict[str, bytes] = {}
        self.entities: dict[tuple[str, str], Config] = {}
        self._components: dict[tuple[str, str, str], str] = {}

    def hear(self, topic: str, payload: bytes) -> None:
        """Take a message from the broker.

        Raises:
            AssertionError: it is a discovery message against the rules.
        """
        if not topic.startswith("homeassistant/"):
            self.topics[topic] = payload
            return
        assert TOPIC.fullmatch(topic), f"illegal discovery topic {topic}"
        if not payload:
            self.devices.pop(topic, None)
            for key in [key for key in self._components if key[0] == topic]:
                self._forget(key)
            return
        config = self.devices[topic] = checked(json.loads(payload))
        for id, component in config["components"].items():
            self._set_up(topic, id, component, config)

    def show(self, unique_id: str) -> str:
        """The state of the entity with this unique id."""
        [(platform, config)] = [(key[0], one) for key, one in self.entities.items() if key[1] == unique_id]
        available = [self._is_available(source) for source in config["availability"]]
        assert config.get("availability_mode", "latest") == "all" or len(available) == 1
        if not all(available):
            return UNAVAILABLE
        value = self._render(config["state_topic"], config["value_template"])
        if value in {None, "", "None"}:
            return UNKNOWN
        return _state(platform, config, str(value))

    def attributes(self, unique_id: str) -> Config:
        """What the entity tells beside its state."""
        [config] = [one for key, one in self.entities.items() if key[1] == unique_id]
        found = json.loads(self._render(config["json_attributes_topic"], config["json_attributes_template"]) or "{}")
        assert isinstance(found, dict)
        return found

    def _set_up(self, topic: str, id: str, component: Config, config: Config) -> None:
        key = (topic, component["platform"], id)
        if component.keys() == {"platform"}:
            self._forget(key)
            return
        full = {name: config[name] for name in SHARED & config.keys()} | component
        named = (component["platform"], component["unique_id"])
        assert self._components.get(key, named[1]) == named[1], f"{id} has another unique id than before"
        assert key in self._components or named not in self.entities, f"unique id {named} is taken"
        self._components[key], self.entities[named] = named[1], full

    def _forget(self, key: tuple[str, str, str]) -> None:
        unique_id = self._components.pop(key, None)
        if unique_id is not None:
            del self.entities[key[1], unique_id]

    def _is_available(self, source: Config) -> bool:
        told = self._render(source["topic"], source["value_template"])
        assert told in {None, "online", "offline"}, told
        return told == "online"

    def _render(self, topic: str, template: str) -> str | None:
        payload = self.topics.get(topic)
        return render(template, payload) if payload else None


class _Strict(Undefined):
    """What is missing is a warning in Home Assistant's log; here it is an error."""

    def _complain(self, *_: object) -> Any:
        self._fail_with_undefined_error()

    __str__ = __iter__ = __bool__ = __len__ = __eq__ = __hash__ = _complain


_JINJA: Final = ImmutableSandboxedEnvironment(undefined=_Strict)


def render(template: str, payload: bytes) -> str:
    """What a value template makes of a payload."""
    text = payload.decode()
    return _JINJA.from_string(template).render(value=text, value_json=json.loads(text))


def checked(payload: Config) -> Config:
    """A discovery message in full words.

    Raises:
        AssertionError: it is against the rules.
    """
    config = _in_full(payload, ABBREVIATIONS)
    config["device"] = device = _in_full(config["device"], OF_DEVICE)
    config["origin"] = origin = _in_full(config["origin"], OF_ORIGIN)
    assert config.keys() <= SHARED | {"device", "origin", "components"}, config.keys()
    assert device["identifiers"]
    assert all(isinstance(value, str) for name, value in device.items() if name != "identifiers"), device
    assert origin["name"]
    _check_availability(config)
    config["components"] = {id: _in_full(one, ABBREVIATIONS) for id, one in config["components"].items()}
    for id, component in config["components"].items():
        _check_component(id, component, {**{name: config[name] for name in SHARED & config.keys()}, **component})
    uniques = [one["unique_id"] for one in config["components"].values() if len(one) > 1]
    assert len(uniques) == len(set(uniques))
    return config


def _check_component(id: str, component: Config, full: Config) -> None:
    platform = component["platform"]
    allowed = OPTIONS[platform]
    assert component.keys() <= allowed, f"{id}: {component.keys() - allowed}"
    if component.keys() == {"platform"}:
        return
    assert component["unique_id"], id
    assert full["state_topic"], id
    assert component["name"].strip(), id
    assert component.get("entity_category", "diagnostic") == "diagnostic", f"{id}: sensors have no other"
    assert ("json_attributes_template" in component) <= ("json_attributes_topic" in component)
    if "availability" in component:
        _check_availability(component)
    kind, unit = component.get("device_class"), component.get("unit_of_measurement")
    if platform == "binary_sensor":
        assert kind in {None} | BINARY_CLASSES, id
    elif kind == "enum":
        assert component["options"], id
        assert not {"state_class", "unit_of_measurement"} & component.keys(), id
    elif kind == "timestamp":
        assert not {"state_class", "unit_of_measurement", "options"} & component.keys(), id
    else:
        assert component.get("state_class", "measurement") in STATE_CLASSES, id
        assert kind is None or unit in UNITS[kind], f"{id}: {unit} is no unit of {kind}"
        assert unit is None or "state_class" in component, id


def _check_availability(config: Config) -> None:
    assert config.get("availability_mode", "latest") in {"all", "any", "latest"}
    config["availability"] = [_in_full(one, ABBREVIATIONS) for one in config.get("availability", [])]
    for source in config["availability"]:
        assert source.keys() <= {"topic", "value_template", "payload_available", "payload_not_available"}, source
        assert source["topic"]
        assert not {"+", "#"} & set(source["topic"])


def _state(platform: str, config: Config, value: str) -> str:
    assert len(value) <= LONGEST_STATE, "the state is too long"
    if platform == "binary_sensor":
        return {config["payload_on"]: "on", config["payload_off"]: "off"}[value]
    if config.get("device_class") == "enum":
        assert value in config["options"], value
    elif config.get("device_class") == "timestamp":
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)", value), value
    elif {"state_class", "unit_of_measurement"} & config.keys():
        float(value)
    return value


def _in_full(short: Config, words: Mapping[str, str]) -> Config:
    assert isinstance(short, dict)
    full = {words.get(name, name): value for name, value in short.items()}
    assert len(full) == len(short), "said twice, in short and in full"
    return full
