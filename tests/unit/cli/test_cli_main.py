import os
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from gateway import __version__
from gateway.cli import SUBCOMMANDS, main
from gateway.errors import (
    GatewayError,
    LinkLost,
    PublishRefused,
    SettingsError,
    StateError,
    StorageFull,
    StoreUnavailable,
)
from tests.support.command_line import Ran, Run
from tests.support.gateway_state import GatewayState

Failing = Callable[[BaseException], Ran]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, cli: Run) -> Failing:
    """Runs a subcommand that raises this error."""

    def run(error: BaseException) -> Ran:
        def execute(_options: object) -> int:
            raise error

        subcommand = SimpleNamespace(SUMMARY="fail", add_options=lambda _parser: None, execute=execute)
        monkeypatch.setitem(SUBCOMMANDS, "run", subcommand)
        return cli("run")

    return run


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"edge-gateway {__version__}\n"


def test_without_arguments_it_prints_help_and_fails_as_a_usage_error(cli: Run) -> None:
    ran = cli()
    assert (ran.status, ran.out) == (2, "")
    assert all(name in ran.err for name in SUBCOMMANDS)


@pytest.mark.parametrize("arguments", [["fly"], ["device"], ["devices", "--colour"], ["history", "p", "--limit", "0"]])
def test_a_wrong_argument_is_a_usage_error(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SettingsError("wrong"), 78),
        (StateError("wrong"), 78),
        (StoreUnavailable("wrong"), 69),
        (StorageFull("wrong"), 69),
        (LinkLost("wrong"), 69),
        (PublishRefused("wrong"), 77),
        (PermissionError(13, "wrong"), 77),
        (ExceptionGroup("several", [ExceptionGroup("several", [StateError("wrong")])]), 78),
    ],
)
def test_an_error_is_told_in_a_line_and_has_its_exit_status(failing: Failing, error: Exception, status: int) -> None:
    ran = failing(error)
    assert (ran.status, ran.out) == (status, "")
    assert "wrong" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "error", [GatewayError("odd"), ZeroDivisionError("odd"), ExceptionGroup("odd", [LinkLost(""), ValueError()])]
)
def test_a_fault_of_ours_is_shown_with_its_trace(failing: Failing, error: Exception) -> None:
    ran = failing(error)
    assert ran.status == 70
    assert "Traceback" in ran.err
    assert "odd" in ran.err


def test_an_interrupted_command_is_silent(failing: Failing) -> None:
    ran = failing(KeyboardInterrupt())
    assert (ran.status, ran.out, ran.err) == (130, "", "")


def test_a_closed_pipe_is_silent(pump: GatewayState) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "gateway", "devices", "--config", str(pump.config)]
    ran = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_a_character_that_the_locale_lacks_is_escaped(pump: GatewayState) -> None:
    pump.config.write_text(pump.config.read_text() + 'id = "gw1"\n[mqtt]\nhost = "温度"\n')
    ran = subprocess.run(
        [sys.executable, "-m", "gateway", "check-config", "--show", "--config", pump.config],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0
    assert rb"\u6e29\u5ea6" in ran.stdout


def test_the_command_starts_without_what_its_subcommands_need() -> None:
    look = "import sys, gateway.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout.split()
    assert {"aiomqtt", "asyncio", "structlog", "tinydb", "sqlite3"}.isdisjoint(loaded)
