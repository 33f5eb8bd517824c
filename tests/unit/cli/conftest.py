"""A state directory, and the command run on it."""

from pathlib import Path

import pytest

from gateway.cli import main
from gateway.domain.device_events import AlarmRaised, DeviceConnected, DeviceRegistered
from tests.support.command_line import Ran, Run
from tests.support.gateway_state import AT, GatewayState


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str | Path) -> Ran:
        status = main([str(argument) for argument in arguments])
        return Ran(status, *capsys.readouterr())

    return run


@pytest.fixture
def state(tmp_path: Path) -> GatewayState:
    return GatewayState(tmp_path)


@pytest.fixture
def on_state(cli: Run, state: GatewayState) -> Run:
    """The command, with the settings of the state directory."""
    return lambda *arguments: cli(*arguments, "--config", state.config)


@pytest.fixture
def pump(state: GatewayState) -> GatewayState:
    """The state directory with a device that is registered, is connected, and has an alarm."""
    state.take(DeviceRegistered(at=AT, model="T-1000"), command_id="c-1", actor="pump-7")
    state.take(DeviceConnected(at=AT), command_id="c-2", actor="pump-7")
    state.take(AlarmRaised(at=AT, code="hot", severity="info"), command_id="c-3")
    return state
