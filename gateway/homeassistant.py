"""What Home Assistant is told of each device, so that it appears there by itself (MQTT device discovery). Pure.

Values come from the retained state by templates, and nothing is assumed that the device has not reported. Home
Assistant is a reader: its entities know neither command ids nor acknowledgements.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import orjson

from gateway import __version__
from gateway.domain.decider import Decider, Document
from gateway.domain.device_state import DeviceState
from gateway.topics import Topics

MOST_PROPERTIES: Final = 128
"""Of a device that appear: the first that it has reported."""

BIRTH: Final = b"online"
"""What Home Assistant publishes when it is there."""

_GONE: Final = b""
_RETIRED: Final = "decommissioned"
_PROPERTY: Final = "reported."
_FLAG: Final = "flag."
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9-]")

_UNITS: Final[Mapping[str, Mapping[str, str]]] = {
    "celsius": {"dev_cla": "temperature", "unit_of_meas": "°C"},
    "fahrenheit": {"dev_cla": "temperature", "unit_of_meas": "°F"},
    "kelvin": {"dev_cla": "temperature", "unit_of_meas": "K"},
    "bar": {"dev_cla": "pressure", "unit_of_meas": "bar"},
    "hpa": {"dev_cla": "pressure", "unit_of_meas": "hPa"},
    "kpa": {"dev_cla": "pressure", "unit_of_meas": "kPa"},
    "volt": {"dev_cla": "voltage", "unit_of_meas": "V"},
    "ampere": {"dev_cla": "current", "unit_of_meas": "A"},
    "watt": {"dev_cla": "power", "unit_of_meas": "W"},
    "kw": {"dev_cla": "power", "unit_of_meas": "kW"},
    "hertz": {"dev_cla": "frequency", "unit_of_meas": "Hz"},
    "lux": {"dev_cla": "illuminance", "unit_of_meas": "lx"},
    "percent": {"unit_of_meas": "%"},
    "rpm": {"unit_of_meas": "rpm"},
    "ppm": {"unit_of_meas": "ppm"},
}
"""By the last word of a property's name; a unit is never guessed."""

Component = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Discovery:
    """Writes the discovery messages of one gateway.

    Attributes:
        gateway: its name, so that the devices of several gateways do not meet.
        prefix: of Home Assistant's own topics.
    """

    topics: Topics
    gateway: str
    prefix: str

    @property
    def birth_topic(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self.prefix}/status"

    def __call__(self, decider: Decider[Any], document: Document) -> tuple[str, bytes] | None:
        """Topic and payload of the retained message on a device, empty where it is gone; only devices have one."""
        if decider.state_type is not DeviceState:
            return None
        device = str(document["id"])
        key = f"{_topic_safe(self.gateway)}__{_topic_safe(device)}"
        payload = _GONE if document["lifecycle"] == _RETIRED else orjson.dumps(self._config(key, device, document))
        return f"{self.prefix}/device/{key}/config", payload

    def _config(self, key: str, device: str, document: Document) -> dict[str, Any]:
        state = self.topics.state(device)
        about = {
            "ids": [key],
            "name": document["name"] or device,
            "mdl": document["model"],
            "sn": document["serial"],
            "sw": document["firmware"],
            "sa": document["location"],
        }
        components = {
            **dict(_about_the_device(state, self._gateway_is_there())),
            **dict(_properties(document["reported"])),
        }
        # an empty one takes the component away
        named = {id: {**one, "uniq_id": f"{key}.{id}"} if len(one) > 1 else one for id, one in components.items()}
        return {
            "dev": {name: value for name, value in about.items() if value is not None},
            "o": {"name": "edge-gateway", "sw": __version__},
            "stat_t": state,
            "qos": 1,
            "avty_mode": "all",
            "avty": [*self._gateway_is_there(), {"t": state, "val_tpl": _IN_SERVICE}],
            "cmps": named,
        }

    def _gateway_is_there(self) -> list[dict[str, str]]:
        return [{"t": self.topics.status, "val_tpl": "{{ value_json.state }}"}]


_IN_SERVICE: Final = (
    "{{ 'offline' if value_json.status == 'suspended'"
    " or (value_json.connected_at and not value_json.connected) else 'online' }}"
)
"""What was reported counts while the device is connected, or for ever where it never connects at all."""


def _about_the_device(state: str, whenever: list[dict[str, str]]) -> Iterator[tuple[str, Component]]:
    """What is known of every device, also while it is away."""
    alarms = {"json_attr_t": state, "json_attr_tpl": "{{ value_json.alarms | tojson }}"}
    yes = {"pl_on": "True", "pl_off": "False"}
    statuses = {"dev_cla": "enum", "ops": ["unknown", "online", "offline", "suspended"]}
    configurations = {"dev_cla": "enum", "ops": ["none", "pending", "applied", "refused"]}
    found: dict[str, Component] = {
        "connection": {"p": "binary_sensor", "name": "Connection", "dev_cla": "connectivity", **yes}
        | _diagnostic("{{ value_json.connected }}"),
        "status": {"p": "sensor", "name": "Status", **statuses} | _diagnostic("{{ value_json.status }}"),
        "configuration": {"p": "sensor", "name": "Configuration", **configurations}
        | _diagnostic("{{ value_json.configuration.status }}"),
        "last_seen": {"p": "sensor", "name": "Last seen", "dev_cla": "timestamp"}
        | _diagnostic("{{ value_json.last_seen }}"),
        "alarm": {"p": "binary_sensor", "name": "Alarm", "dev_cla": "problem", **yes}
        | {"val_tpl": "{{ value_json.alarms | length > 0 }}", **alarms},
        "alarms": {"p": "sensor", "name": "Alarms", "stat_cla": "measurement"}
        | {"val_tpl": "{{ value_json.alarms | length }}"},
    }
    for id, component in found.items():
        yield id, {**component, "avty": whenever}


def _diagnostic(template: str) -> Component:
    return {"val_tpl": template, "ent_cat": "diagnostic"}


def _properties(reported: Any) -> Iterator[tuple[str, Component]]:  # noqa: ANN401 - a field of a document
    """What the device has reported: yes or no, numbers and text. Of an unknown value the kind is unknown, too."""
    for name, value in islice(reported.items(), MOST_PROPERTIES):
        value_of = f"value_json.reported.get('{name}')"
        label = re.sub(r"[._]+", " ", name).strip().capitalize()
        flag, sensor = _FLAG + name, _PROPERTY + name
        # where the kind of its values has changed, the other component has to go
        match value:
            case bool():
                component = {"name": label, "pl_on": "True", "pl_off": "False", "val_tpl": f"{{{{ {value_of} }}}}"}
                yield flag, {"p": "binary_sensor", **component}
                yield sensor, {"p": "sensor"}
            case int() | float():
                known = _UNITS.get(re.split(r"[._]+", name)[-1], {})
                component = {"name": label, "stat_cla": "measurement", "val_tpl": f"{{{{ {value_of} }}}}", **known}
                yield sensor, {"p": "sensor", **component}
                yield flag, {"p": "binary_sensor"}
            case str():
                # Home Assistant takes no more
                yield sensor, {"p": "sensor", "name": label, "val_tpl": f"{{{{ ({value_of} | string)[:255] }}}}"}
                yield flag, {"p": "binary_sensor"}


def _topic_safe(name: str) -> str:
    """A name in the letters that a discovery topic may have; different names stay different."""
    return _UNSAFE.sub(lambda found: f"_{ord(found[0]):02x}", name)
