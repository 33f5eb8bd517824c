"""The device, put together from its commands, its events, the rules that decide, and the state that they fold into."""

from collections.abc import Mapping
from typing import Final, get_args

from pydantic import TypeAdapter

from gateway.domain.decider import Decider, Document
from gateway.domain.device_rules import DeviceCommand, decide
from gateway.domain.device_state import Alarm, DeviceEvent, DeviceState, evolve


def _desired(state: DeviceState) -> Document | None:
    if state.configuration.version == 0:
        return None
    if not state.desired:
        return {}
    return {"version": state.configuration.version, "properties": dict(state.desired)}


def _facets(state: DeviceState) -> Mapping[str, str]:
    return {"model": state.model, "status": state.status} if state.model is not None else {}


_ALARM: Final = TypeAdapter(Alarm)


def _alarms(state: DeviceState) -> Mapping[str, Document]:
    return {code: _ALARM.dump_python(alarm, mode="json") for code, alarm in state.alarms.items()}


DEVICE: Final = Decider(
    category="device",
    collection="devices",
    commands=get_args(DeviceCommand),
    events=get_args(DeviceEvent),
    initial=DeviceState(),
    decide=decide,
    evolve=evolve,
    state_type=DeviceState,
    is_retired=lambda state: state.lifecycle == "decommissioned",
    desired=_desired,
    facets=_facets,
    rows={"alarms": _alarms},
)
