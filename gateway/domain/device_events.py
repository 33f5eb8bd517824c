"""Everything that can have happened to a device."""

from typing import Literal

from pydantic import AwareDatetime, Field, JsonValue

from gateway.domain.decider import Event

Severity = Literal["info", "warning", "critical"]


class DeviceRegistered(Event):
    """The device became known."""

    model: str
    serial: str | None = None
    firmware: str | None = None
    attributes: dict[str, str] = Field(default_factory=dict)


class DeviceConnected(Event):
    """The device began a session."""

    address: str | None = None


class FirmwareChanged(Event):
    """The device came back with other firmware."""

    firmware: str
    previous: str | None = None


class DeviceDisconnected(Event):
    """The device's session ended."""

    reason: str | None = None


class PropertiesReported(Event):
    """The device told values that differ from what it told before."""

    properties: dict[str, JsonValue]
    measured_at: AwareDatetime | None = None


class ConfigurationRequested(Event):
    """An operator wants other values; null withdraws a wish."""

    configuration: int
    properties: dict[str, JsonValue]


class ConfigurationApplied(Event):
    """What the device reports matches all that is desired."""

    configuration: int


class ConfigurationRefused(Event):
    """The device will not apply it."""

    configuration: int
    reason: str


class AlarmRaised(Event):
    """Something needs attention."""

    code: str
    severity: Severity
    message: str | None = None


class AlarmAcknowledged(Event):
    """An operator knows of it."""

    code: str
    by: str
    note: str | None = None


class AlarmCleared(Event):
    """It needs no attention any more."""

    code: str


class DeviceAnnotated(Event):
    """An operator gave it other words."""

    name: str | None = None
    location: str | None = None
    labels: dict[str, str] | None = None


class DeviceSuspended(Event):
    """Its reports are not taken for now."""

    reason: str | None = None


class DeviceResumed(Event):
    """Its reports are taken again."""

    reason: str | None = None


class DeviceDecommissioned(Event):
    """It is out of service."""

    reason: str


class DeviceRecommissioned(Event):
    """It is in service again."""

    reason: str
