"""What is known of a device, as a fold of its events. It is also the document that the read cache keeps."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Literal, assert_never, cast

from pydantic import JsonValue

from gateway.domain import device_events as events
from gateway.domain.decider import Event
from gateway.domain.device_events import Severity
from gateway.records import dataclass, replace

ConfigurationStatus = Literal["none", "pending", "applied", "refused"]
Lifecycle = Literal["unknown", "active", "suspended", "decommissioned"]
Status = Literal["unknown", "online", "offline", "suspended", "decommissioned"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """An active alarm."""

    code: str
    severity: Severity
    message: str | None
    raised_at: datetime
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """How far the device is with what is desired of it.

    Attributes:
        version: of the newest request; 0 before the first.
        reason: why the device refused that version.
    """

    version: int = 0
    status: ConfigurationStatus = "none"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceState:
    """A device.

    Attributes:
        registered_firmware: what it was registered with; ``firmware`` is what it runs now.
        last_seen: when it connected, reported a change or disconnected last.
        reported: what the device has told, and nothing else.
        reported_at: when each of these values was measured, or received where the device did not say.
        desired: what operators want it to be.
    """

    lifecycle: Lifecycle = "unknown"
    status: Status = "unknown"
    model: str | None = None
    serial: str | None = None
    firmware: str | None = None
    registered_firmware: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    location: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    registered_at: datetime | None = None
    connected: bool = False
    connected_at: datetime | None = None
    disconnected_at: datetime | None = None
    address: str | None = None
    last_seen: datetime | None = None
    reported: Mapping[str, JsonValue] = field(default_factory=dict)
    reported_at: Mapping[str, datetime] = field(default_factory=dict)
    desired: Mapping[str, JsonValue] = field(default_factory=dict)
    configuration: Configuration = field(default_factory=Configuration)
    alarms: Mapping[str, Alarm] = field(default_factory=dict)


DeviceEvent = (
    events.DeviceRegistered
    | events.DeviceConnected
    | events.FirmwareChanged
    | events.DeviceDisconnected
    | events.PropertiesReported
    | events.ConfigurationRequested
    | events.ConfigurationApplied
    | events.ConfigurationRefused
    | events.AlarmRaised
    | events.AlarmAcknowledged
    | events.AlarmCleared
    | events.DeviceAnnotated
    | events.DeviceSuspended
    | events.DeviceResumed
    | events.DeviceDecommissioned
    | events.DeviceRecommissioned
)


def evolve(state: DeviceState, event: Event) -> DeviceState:
    """The device after one more event."""
    return _with_status(_evolve(state, cast("DeviceEvent", event)))


def _with_status(state: DeviceState) -> DeviceState:
    if state.lifecycle == "active":
        status: Status = "online" if state.connected else "offline"
    else:
        status = state.lifecycle
    return state if status == state.status else replace(state, status=status)


def _evolve(state: DeviceState, event: DeviceEvent) -> DeviceState:  # noqa: C901, PLR0911, PLR0912 - one case an event
    match event:
        case events.DeviceRegistered():
            return _registered(state, event)
        case events.DeviceConnected():
            return _connected(state, event)
        case events.FirmwareChanged():
            return replace(state, firmware=event.firmware)
        case events.DeviceDisconnected():
            return replace(state, connected=False, disconnected_at=event.at, last_seen=event.at)
        case events.PropertiesReported():
            return _reported(state, event)
        case events.ConfigurationRequested():
            return _requested(state, event)
        case events.ConfigurationApplied():
            return replace(state, configuration=Configuration(event.configuration, "applied"))
        case events.ConfigurationRefused():
            return replace(state, configuration=Configuration(event.configuration, "refused", event.reason))
        case events.AlarmRaised():
            alarm = Alarm(event.code, event.severity, event.message, event.at)
            return replace(state, alarms={**state.alarms, event.code: alarm})
        case events.AlarmAcknowledged():
            return _acknowledged(state, event)
        case events.AlarmCleared():
            return replace(state, alarms={code: one for code, one in state.alarms.items() if code != event.code})
        case events.DeviceAnnotated():
            return _annotated(state, event)
        case events.DeviceSuspended():
            return replace(state, lifecycle="suspended")
        case events.DeviceResumed() | events.DeviceRecommissioned():
            return replace(state, lifecycle="active")
        case events.DeviceDecommissioned():
            return _decommissioned(state, event)
        case _:
            assert_never(event)


def _registered(state: DeviceState, event: events.DeviceRegistered) -> DeviceState:
    return replace(
        state,
        lifecycle="active",
        model=event.model,
        serial=event.serial,
        firmware=event.firmware,
        registered_firmware=event.firmware,
        attributes=event.attributes,
        registered_at=event.at,
    )


def _connected(state: DeviceState, event: events.DeviceConnected) -> DeviceState:
    return replace(
        state, connected=True, connected_at=event.at, last_seen=event.at, address=event.address or state.address
    )


def _reported(state: DeviceState, event: events.PropertiesReported) -> DeviceState:
    times = dict.fromkeys(event.properties, event.measured_at or event.at)
    return replace(
        state,
        reported={**state.reported, **event.properties},
        reported_at={**state.reported_at, **times},
        last_seen=event.at,
    )


def _requested(state: DeviceState, event: events.ConfigurationRequested) -> DeviceState:
    desired = {name: value for name, value in {**state.desired, **event.properties}.items() if value is not None}
    # where every wish is withdrawn nothing is left to wait for
    return replace(
        state, desired=desired, configuration=Configuration(event.configuration, "pending" if desired else "none")
    )


def _acknowledged(state: DeviceState, event: events.AlarmAcknowledged) -> DeviceState:
    alarm = replace(state.alarms[event.code], acknowledged_at=event.at, acknowledged_by=event.by, note=event.note)
    return replace(state, alarms={**state.alarms, event.code: alarm})


def _annotated(state: DeviceState, event: events.DeviceAnnotated) -> DeviceState:
    return replace(
        state,
        name=state.name if event.name is None else event.name,
        location=state.location if event.location is None else event.location,
        labels=state.labels if event.labels is None else event.labels,
    )


def _decommissioned(state: DeviceState, event: events.DeviceDecommissioned) -> DeviceState:
    """Out of service: the session is over, nothing is asked of the device, nothing about it is alarming."""
    return replace(
        state,
        lifecycle="decommissioned",
        connected=False,
        disconnected_at=event.at if state.connected else state.disconnected_at,
        desired={},
        alarms={},
        configuration=Configuration(state.configuration.version),
    )
