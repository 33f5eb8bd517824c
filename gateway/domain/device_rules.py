"""What a device's commands cause, and what forbids them. Pure: one function a command."""

from collections.abc import Mapping
from typing import assert_never, cast

from pydantic import JsonValue

from gateway.domain import device_commands as commands
from gateway.domain import device_events as events
from gateway.domain.decider import Command, Context, Event
from gateway.domain.device_commands import MAX_ALARMS, MAX_PROPERTIES
from gateway.domain.device_state import Configuration, DeviceState, evolve
from gateway.errors import Invalid, NotFound

Events = tuple[Event, ...]
NOTHING: Events = ()

Properties = Mapping[str, JsonValue]

DeviceCommand = (
    commands.Register
    | commands.Connect
    | commands.Disconnect
    | commands.Report
    | commands.Configure
    | commands.RefuseConfiguration
    | commands.RaiseAlarm
    | commands.AcknowledgeAlarm
    | commands.ClearAlarm
    | commands.Annotate
    | commands.Suspend
    | commands.Resume
    | commands.Decommission
    | commands.Recommission
)


def decide(command: Command, state: DeviceState, context: Context) -> Events:
    """The events that a command causes; none where nothing has to change.

    Raises:
        NotFound: the device is unknown.
        Invalid: the state forbids it.
    """
    return _decide(cast("DeviceCommand", command), state, context)


def _decide(command: DeviceCommand, state: DeviceState, context: Context) -> Events:  # noqa: C901, PLR0911, PLR0912 - one case a command
    if isinstance(command, commands.Register):
        return _register(command, state, context)
    if state.lifecycle == "unknown":
        raise NotFound("the device is not registered", type="unknown-device")
    match command:
        case commands.Connect():
            return _connect(command, state, context)
        case commands.Disconnect():
            return _disconnect(command, state, context)
        case commands.Report():
            return _report(command, state, context)
        case commands.Configure():
            return _configure(command, state, context)
        case commands.RefuseConfiguration():
            return _refuse_configuration(command, state, context)
        case commands.RaiseAlarm():
            return _raise_alarm(command, state, context)
        case commands.AcknowledgeAlarm():
            return _acknowledge_alarm(command, state, context)
        case commands.ClearAlarm():
            return _clear_alarm(command, state, context)
        case commands.Annotate():
            return _annotate(command, state, context)
        case commands.Suspend():
            return _suspend(command, state, context)
        case commands.Resume():
            return _resume(command, state, context)
        case commands.Decommission():
            return _decommission(command, state, context)
        case commands.Recommission():
            return _recommission(command, state, context)
        case _:
            assert_never(command)


def _require_in_service(state: DeviceState) -> None:
    if state.lifecycle == "decommissioned":
        raise Invalid("the device is decommissioned", type="decommissioned")


def _require_reporting(state: DeviceState) -> None:
    _require_in_service(state)
    if state.lifecycle == "suspended":
        raise Invalid("the device is suspended", type="suspended")


def _register(command: commands.Register, state: DeviceState, context: Context) -> Events:
    _require_in_service(state)
    if state.lifecycle == "unknown":
        return (events.DeviceRegistered(at=context.at, **command.model_dump()),)
    # a device that registers at each start does so with the firmware it has by then
    same = command.firmware in {state.registered_firmware, state.firmware}
    if not same or (command.model, command.serial, command.attributes) != (state.model, state.serial, state.attributes):
        raise Invalid("the device is registered already, with other data", type="already-registered")
    return NOTHING


def _connect(command: commands.Connect, state: DeviceState, context: Context) -> Events:
    _require_in_service(state)
    connected = events.DeviceConnected(at=context.at, address=command.address)
    if command.firmware is None or command.firmware == state.firmware:
        return (connected,)
    changed = events.FirmwareChanged(at=context.at, firmware=command.firmware, previous=state.firmware)
    return (connected, changed)


def _disconnect(command: commands.Disconnect, state: DeviceState, context: Context) -> Events:
    if not state.connected:
        return NOTHING
    return (events.DeviceDisconnected(at=context.at, reason=command.reason),)


def _report(command: commands.Report, state: DeviceState, context: Context) -> Events:
    _require_reporting(state)
    changed = {
        name: value
        for name, value in command.properties.items()
        if name not in state.reported or not _equal(state.reported[name], value)
    }
    reported: Events = NOTHING
    if changed:
        reported = (events.PropertiesReported(at=context.at, properties=changed, measured_at=command.measured_at),)
    # what evolving would give, without making a whole state: this is what devices do all the time
    now = {**state.reported, **changed}
    _require_room(now, state.desired)
    return reported + _applied(state.configuration, state.desired, now, context)


def _configure(command: commands.Configure, state: DeviceState, context: Context) -> Events:
    _require_in_service(state)
    unchanged = all(
        name not in state.desired if value is None else name in state.desired and _equal(state.desired[name], value)
        for name, value in command.properties.items()
    )
    if unchanged:
        return NOTHING
    version = state.configuration.version + 1
    requested = events.ConfigurationRequested(at=context.at, configuration=version, properties=command.properties)
    after = evolve(state, requested)
    _require_room(after.reported, after.desired)
    return (requested, *_applied(after.configuration, after.desired, after.reported, context))


def _refuse_configuration(command: commands.RefuseConfiguration, state: DeviceState, context: Context) -> Events:
    if state.configuration.status != "pending" or command.version != state.configuration.version:
        raise Invalid(
            f"version {command.version} is not pending",
            type="version-not-pending",
            field="data.version",
            value=command.version,
        )
    return (events.ConfigurationRefused(at=context.at, configuration=command.version, reason=command.reason),)


def _raise_alarm(command: commands.RaiseAlarm, state: DeviceState, context: Context) -> Events:
    _require_in_service(state)
    active = state.alarms.get(command.code)
    if active is not None and active.severity == command.severity:
        return NOTHING
    if active is None and len(state.alarms) >= MAX_ALARMS:
        raise Invalid(f"a device has at most {MAX_ALARMS} active alarms", type="too-many-alarms", field="data.code")
    return (events.AlarmRaised(at=context.at, code=command.code, severity=command.severity, message=command.message),)


def _acknowledge_alarm(command: commands.AcknowledgeAlarm, state: DeviceState, context: Context) -> Events:
    active = state.alarms.get(command.code)
    if active is None:
        raise Invalid(
            f"alarm {command.code} is not active", type="alarm-not-active", field="data.code", value=command.code
        )
    if active.acknowledged_at is not None:
        return NOTHING
    return (events.AlarmAcknowledged(at=context.at, code=command.code, by=context.actor, note=command.note),)


def _clear_alarm(command: commands.ClearAlarm, state: DeviceState, context: Context) -> Events:
    if command.code not in state.alarms:
        return NOTHING
    return (events.AlarmCleared(at=context.at, code=command.code),)


def _annotate(command: commands.Annotate, state: DeviceState, context: Context) -> Events:
    name = command.title if command.title != state.name else None
    location = command.location if command.location != state.location else None
    labels = command.labels if command.labels != state.labels else None
    if name is None and location is None and labels is None:
        return NOTHING
    return (events.DeviceAnnotated(at=context.at, name=name, location=location, labels=labels),)


def _suspend(command: commands.Suspend, state: DeviceState, context: Context) -> Events:
    _require_in_service(state)
    if state.lifecycle == "suspended":
        return NOTHING
    return (events.DeviceSuspended(at=context.at, reason=command.reason),)


def _resume(command: commands.Resume, state: DeviceState, context: Context) -> Events:
    _require_in_service(state)
    if state.lifecycle == "active":
        return NOTHING
    return (events.DeviceResumed(at=context.at, reason=command.reason),)


def _decommission(command: commands.Decommission, state: DeviceState, context: Context) -> Events:
    if state.lifecycle == "decommissioned":
        return NOTHING
    return (events.DeviceDecommissioned(at=context.at, reason=command.reason),)


def _recommission(command: commands.Recommission, state: DeviceState, context: Context) -> Events:
    if state.lifecycle != "decommissioned":
        raise Invalid("the device is in service", type="not-decommissioned")
    return (events.DeviceRecommissioned(at=context.at, reason=command.reason),)


def _applied(configuration: Configuration, desired: Properties, reported: Properties, context: Context) -> Events:
    """The configuration has been applied, if it was pending and all that is desired is reported."""
    if configuration.status != "pending" or not all(
        name in reported and _equal(reported[name], value) for name, value in desired.items()
    ):
        return NOTHING
    return (events.ConfigurationApplied(at=context.at, configuration=configuration.version),)


def _require_room(reported: Properties, desired: Properties) -> None:
    """A device has only so many properties, reported and desired together."""
    if len(reported) + len(desired) > MAX_PROPERTIES < len(reported.keys() | desired.keys()):
        raise Invalid(
            f"a device has at most {MAX_PROPERTIES} properties", type="too-many-properties", field="data.properties"
        )


def _equal(one: JsonValue, other: JsonValue) -> bool:
    """Whether two values are the same JSON: true is not 1, though Python says so; 1 and 1.0 are."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other
