"""Given what happened, when this is asked, then that follows."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from gateway.domain.decider import Command, Context, Event, Role
from gateway.domain.device import DEVICE
from gateway.domain.device_events import (
    ConfigurationRequested,
    DeviceConnected,
    DeviceDecommissioned,
    DeviceRegistered,
    DeviceSuspended,
)
from gateway.domain.device_state import DeviceState
from gateway.errors import Refusal

EARLIER = datetime(2026, 3, 1, 11, tzinfo=UTC)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OPERATOR = Context(NOW, "alice", Role.OPERATOR)

REGISTERED = DeviceRegistered(at=EARLIER, model="T-1000")
CONNECTED = DeviceConnected(at=EARLIER)
SUSPENDED = DeviceSuspended(at=EARLIER)
DECOMMISSIONED = DeviceDecommissioned(at=EARLIER, reason="worn out")
WANTED_900_RPM = ConfigurationRequested(at=EARLIER, configuration=1, properties={"rpm": 900})


def state_after(*events: Event) -> DeviceState:
    return DEVICE.fold(events)


@dataclass(frozen=True)
class Asked:
    state: DeviceState
    command: Command

    def then(self, *events: Event) -> DeviceState:
        """Expect these events; what the device is after them may be looked at."""
        assert DEVICE.decide(self.command, self.state, OPERATOR) == events
        return DEVICE.fold(events, self.state)

    def unchanged(self) -> None:
        assert DEVICE.decide(self.command, self.state, OPERATOR) == ()

    def refused(self, type: str, *, code: int = 422) -> Refusal:
        with pytest.raises(Refusal) as refusal:
            DEVICE.decide(self.command, self.state, OPERATOR)
        assert (refusal.value.code, refusal.value.type) == (code, type)
        return refusal.value


@dataclass(frozen=True)
class Scenario:
    state: DeviceState = DEVICE.initial

    def given(self, *events: Event) -> "Scenario":
        return Scenario(DEVICE.fold(events, self.state))

    def when(self, command: Command) -> Asked:
        return Asked(self.state, command)


scenario = Scenario()
