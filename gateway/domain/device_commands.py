"""Everything that can be asked of a device, with who may ask it."""

import math
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field, JsonValue
from pydantic_core import to_json

from gateway.domain import device_events as events
from gateway.domain.decider import Command, Event, Role, Timestamp
from gateway.domain.device_events import Severity

MAX_PROPERTIES: Final = 256
MAX_ALARMS: Final = 256
MAX_VALUE_BYTES: Final = 4_096
MAX_SAFE_INTEGER: Final = 2**53 - 1
MAX_ENTRIES: Final = 64

DEVICE: Final = frozenset({Role.DEVICE})
OPERATOR: Final = frozenset({Role.OPERATOR})
EITHER: Final = DEVICE | OPERATOR


def _property_value(value: JsonValue) -> JsonValue:
    if isinstance(value, dict | list | str) and len(to_json(value)) > MAX_VALUE_BYTES:
        raise ValueError(f"must not exceed {MAX_VALUE_BYTES} bytes of JSON")
    left: list[JsonValue] = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left += item.values()
        elif isinstance(item, list):
            left += item
        elif isinstance(item, int) and abs(item) > MAX_SAFE_INTEGER:
            raise ValueError("must not exceed 2^53 - 1, beyond which JSON readers lose digits")
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError("must be a finite number")
    return value


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable")
    return text


Word = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
Text = Annotated[str, Field(min_length=1, max_length=512)]
PropertyName = Annotated[str, Field(pattern="^[a-z][a-z0-9_.]{0,63}$")]
PropertyValue = Annotated[JsonValue, AfterValidator(_property_value)]
AlarmCode = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
Words = Annotated[dict[PropertyName, Annotated[str, Field(max_length=256)]], Field(max_length=MAX_ENTRIES)]
Properties = Annotated[dict[PropertyName, PropertyValue], Field(min_length=1, max_length=MAX_PROPERTIES)]


class Register(Command):
    """Make the device known."""

    name: ClassVar = "register"
    issuers: ClassVar = EITHER
    causes: ClassVar[tuple[type[Event], ...]] = (events.DeviceRegistered,)

    model: Word = Field(description="What kind of device it is")
    serial: Word | None = Field(None, description="The maker's number")
    firmware: Word | None = Field(None, description="Version of what runs on it")
    attributes: Words = Field({}, description="Further fixed facts by name, such as its voltage")


class Connect(Command):
    """Begin a session."""

    name: ClassVar = "connect"
    issuers: ClassVar = DEVICE
    causes: ClassVar[tuple[type[Event], ...]] = (events.DeviceConnected, events.FirmwareChanged)

    firmware: Word | None = Field(None, description="Version of what runs on it")
    address: Word | None = Field(None, description="Where it can be reached")


class Disconnect(Command):
    """End the session; also for the device's MQTT will."""

    name: ClassVar = "disconnect"
    issuers: ClassVar = DEVICE
    causes: ClassVar[tuple[type[Event], ...]] = (events.DeviceDisconnected,)

    reason: Text | None = Field(None, description="Why it ended")


class Report(Command):
    """Tell the values that the device has."""

    name: ClassVar = "report"
    issuers: ClassVar = DEVICE
    causes: ClassVar[tuple[type[Event], ...]] = (events.PropertiesReported, events.ConfigurationApplied)

    properties: Properties = Field(description="Values by name: scalars, or arrays and objects up to 4 KiB of JSON")
    measured_at: Timestamp | None = Field(None, description="When they were measured, where it was earlier")


class Configure(Command):
    """Ask the device for other values."""

    name: ClassVar = "configure"
    issuers: ClassVar = OPERATOR
    causes: ClassVar[tuple[type[Event], ...]] = (events.ConfigurationRequested, events.ConfigurationApplied)

    properties: Properties = Field(description="Desired values by name; null withdraws a wish")


class RefuseConfiguration(Command):
    """Say that the device will not apply what is desired."""

    name: ClassVar = "refuse-configuration"
    issuers: ClassVar = DEVICE
    causes: ClassVar[tuple[type[Event], ...]] = (events.ConfigurationRefused,)

    version: int = Field(ge=1, description="Of the configuration that it refuses")
    reason: Text = Field(description="Why, for the operator")


class RaiseAlarm(Command):
    """Say that something needs attention."""

    name: ClassVar = "raise-alarm"
    issuers: ClassVar = EITHER
    causes: ClassVar[tuple[type[Event], ...]] = (events.AlarmRaised,)

    code: AlarmCode = Field(description="Which alarm")
    severity: Severity = Field(description="How urgent it is")
    message: Text | None = Field(None, description="What is wrong, for people")


class AcknowledgeAlarm(Command):
    """Say that somebody knows of it."""

    name: ClassVar = "acknowledge-alarm"
    issuers: ClassVar = OPERATOR
    causes: ClassVar[tuple[type[Event], ...]] = (events.AlarmAcknowledged,)

    code: AlarmCode = Field(description="Which alarm")
    note: Text | None = Field(None, description="What is being done")


class ClearAlarm(Command):
    """Say that it needs no attention any more."""

    name: ClassVar = "clear-alarm"
    issuers: ClassVar = EITHER
    causes: ClassVar[tuple[type[Event], ...]] = (events.AlarmCleared,)

    code: AlarmCode = Field(description="Which alarm")


class Annotate(Command):
    """Give the device a name, a place, labels."""

    name: ClassVar = "annotate"
    issuers: ClassVar = OPERATOR
    causes: ClassVar[tuple[type[Event], ...]] = (events.DeviceAnnotated,)

    title: Text | None = Field(None, alias="name", description="What people call it")
    location: Text | None = Field(None, description="Where it stands")
    labels: Words | None = Field(None, description="Takes the place of all labels that it had")


class Suspend(Command):
    """Take no reports for now."""

    name: ClassVar = "suspend"
    issuers: ClassVar = OPERATOR
    causes: ClassVar[tuple[type[Event], ...]] = (events.DeviceSuspended,)

    reason: Text | None = Field(None, description="Why, for the history")


class Resume(Command):
    """Take reports again."""

    name: ClassVar = "resume"
    issuers: ClassVar = OPERATOR
    causes: ClassVar[tuple[type[Event], ...]] = (events.DeviceResumed,)

    reason: Text | None = Field(None, description="Why, for the history")


class Decommission(Command):
    """Take the device out of service."""

    name: ClassVar = "decommission"
    issuers: ClassVar = OPERATOR
    causes: ClassVar[tuple[type[Event], ...]] = (events.DeviceDecommissioned,)

    reason: Text = Field(description="Why, for the history")


class Recommission(Command):
    """Put the device into service again."""

    name: ClassVar = "recommission"
    issuers: ClassVar = OPERATOR
    causes: ClassVar[tuple[type[Event], ...]] = (events.DeviceRecommissioned,)

    reason: Text = Field(description="Why, for the history")
