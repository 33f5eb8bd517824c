"""What systemd itself says of the unit and its drop-ins, and whether they fit the program."""

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

from gateway.cli.exit_status import Exit
from gateway.settings_loader import CREDENTIALS

SYSTEMD: Final = Path(__file__).parents[2] / "systemd"
UNIT: Final = SYSTEMD / "edge-gateway.service"
DOCTOR: Final = SYSTEMD / "edge-gateway-doctor.service"
TIMER: Final = SYSTEMD / "edge-gateway-doctor.timer"
DROP_INS: Final = sorted((SYSTEMD / "drop-ins").glob("*.conf"))
NOTIFY_RELOAD: Final = 253
"""The first release that knows it."""
MOST_EXPOSED: Final = "10"
"""In tenths: 1.0 of 10."""

DOCTOR_EXPOSED: Final = "15"
"""He looks at the gateway's process, and at the clock."""

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def settings_of(unit: Path) -> dict[str, list[str]]:
    found = defaultdict[str, list[str]](list)
    for line in unit.read_text().splitlines():
        name, assigned, value = line.partition("=")
        if assigned and not line.startswith("#"):
            found[name].append(value)
    return found


def analyze(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(params=[None, *DROP_INS], ids=lambda path: path.stem if path else "alone")
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit, alone or with one drop-in, with a program that every machine has."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/edge-gateway/bin/edge-gateway run", "/bin/true"))
    if request.param is not None:
        version = int(analyze("--version").stdout.split()[1])
        if "notify-reload" in request.param.name and version < NOTIFY_RELOAD:
            pytest.skip(f"systemd {version} does not know Type=notify-reload")
        directory = tmp_path / f"{UNIT.name}.d"
        directory.mkdir()
        shutil.copy(request.param, directory)
    return copy


@needs_systemd_analyze
def test_systemd_understands_every_line(unit: Path) -> None:
    done = analyze("verify", "--man=no", unit)
    told = [line for line in done.stderr.splitlines() if "edge-gateway" in line]
    assert (done.returncode, told) == (0, [])


@needs_systemd_analyze
def test_the_sandbox_leaves_next_to_nothing_exposed(unit: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit)
    assert done.returncode == 0, done.stdout


@needs_systemd_analyze
def test_the_doctors_units_are_understood_and_leave_little_exposed(tmp_path: Path) -> None:
    unit, timer = tmp_path / DOCTOR.name, tmp_path / TIMER.name
    unit.write_text(DOCTOR.read_text().replace("/opt/edge-gateway/bin/edge-gateway doctor", "/bin/true"))
    shutil.copy(TIMER, timer)
    done = analyze("verify", "--man=no", timer)
    told = [line for line in done.stderr.splitlines() if "edge-gateway" in line]
    assert (done.returncode, told) == (0, [])
    done = analyze("security", "--offline=true", f"--threshold={DOCTOR_EXPOSED}", unit)
    assert done.returncode == 0, done.stdout


def test_the_doctor_is_who_the_gateway_is_and_knows_what_it_knows() -> None:
    gateway, doctor = settings_of(UNIT), settings_of(DOCTOR)
    for setting in ("User", "Group", "LoadCredential", "IPAddressDeny", "IPAddressAllow", "UMask"):
        assert doctor[setting] == gateway[setting], setting
    kinds = ("Protect", "Private", "RestrictA", "RestrictN", "RestrictR", "RestrictS", "NoNew", "Capability", "Memory")
    sandbox = [name for name in gateway if name.startswith(kinds)]
    assert {name for name in sandbox if gateway[name] != doctor[name]} == {"ProtectClock", "ProtectProc", "MemoryHigh"}


@pytest.mark.parametrize("path", [UNIT, DOCTOR, *DROP_INS], ids=lambda path: path.stem)
def test_each_credential_is_one_that_the_gateway_looks_for(path: Path) -> None:
    settings = settings_of(path)
    given = settings["LoadCredential"] + settings["LoadCredentialEncrypted"]
    assert {value.partition(":")[0] for value in given if value} <= CREDENTIALS.keys()


def test_what_a_restart_cannot_heal_is_not_restarted() -> None:
    [statuses] = settings_of(UNIT)["RestartPreventExitStatus"]
    assert set(map(int, statuses.split())) == {Exit.USAGE, Exit.SETTINGS}
