"""The package on a machine with a real systemd: started, watched, reloaded, sandboxed, upgraded and removed."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.machine import REPOSITORY, Machine, missing

WHY_NOT: Final = missing()

pytestmark = [
    pytest.mark.systemd,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
]

UNIT: Final = "edge-gateway"
DOCTOR: Final = "edge-gateway-doctor"
PACKAGE: Final = "/srv/edge-gateway_test.deb"
GUIDE: Final = REPOSITORY / "docs/install.md"
CONNECTED: Final = "broker connected; event store there"
SETTINGS_ERROR: Final = 78


@pytest.fixture(scope="module")
def package() -> Path:
    done = subprocess.run([REPOSITORY / "systemd/deb/build"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return REPOSITORY / done.stdout.splitlines()[-1]


@contextmanager
def booted(directory: Path, package: Path) -> Iterator[Machine]:
    """A machine that has the package at hand."""
    machine = Machine(directory / "root")
    try:
        shutil.copy(package, machine.root / PACKAGE[1:])
        yield machine
    finally:
        machine.close()


def installed(directory: Path, package: Path) -> Iterator[Machine]:
    with booted(directory, package) as machine:
        machine.run("dpkg", "--install", PACKAGE)
        yield machine


@pytest.fixture(scope="module")
def shared(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    yield from installed(tmp_path_factory.mktemp("machine"), package)


@pytest.fixture
def machine(shared: Machine) -> Iterator[Machine]:
    """The machine that the tests share, in good order before and after."""
    yield shared
    shared.run("sh", "-c", f"rm -rf /etc/edge-gateway/conf.d/* /etc/systemd/system/{UNIT}.service.d")
    shared.run("systemctl", "daemon-reload")
    shared.run("systemctl", "restart", UNIT)


@pytest.fixture
def own_machine(package: Path, tmp_path: Path) -> Iterator[Machine]:
    yield from installed(tmp_path, package)


def restarts(machine: Machine) -> int:
    return int(machine.show(UNIT, "NRestarts"))


def wait_connected(machine: Machine) -> None:
    machine.wait("a connection", lambda: machine.show(UNIT, "StatusText").startswith(CONNECTED))


def started_anew(machine: Machine, before: int) -> bool:
    return restarts(machine) > before and machine.show(UNIT, "ActiveState") == "active"


def logged(machine: Machine, event: str) -> list[dict[str, object]]:
    """The entries of the journal about an event, with the fields that the gateway gave them."""
    told = machine.run("journalctl", "--no-pager", "--output=json", "--unit", UNIT, f"EVENT={event}")
    return [json.loads(line) for line in told.splitlines() if line.startswith("{")]


def writable_places(machine: Machine, process: str) -> dict[str, list[str]]:
    """Where on the disk a process may write, and how that is mounted."""
    lines = [line.split(" - ") for line in machine.run("cat", f"/proc/{process}/mountinfo").splitlines()]
    disk = next(kind.split()[:2] for mount, kind in lines if mount.split()[4] == "/")
    mounts = {mount.split()[4]: mount.split()[5].split(",") for mount, kind in lines if kind.split()[:2] == disk}
    # what is there comes from the container, and has no part in this
    return {
        place: options for place, options in mounts.items() if "rw" in options and not place.startswith("/run/host/")
    }


def test_it_is_up_when_the_package_is_installed_and_comes_again_with_the_machine(machine: Machine) -> None:
    assert machine.show(UNIT, "ActiveState") == "active"
    assert machine.show(UNIT, "UnitFileState") == "enabled"
    wait_connected(machine)


def test_a_command_is_answered(machine: Machine) -> None:
    wait_connected(machine)
    told = machine.run("edge-gateway", "send", "pump-7", "register", "model=T-1000", "--actor", "pump-7")
    assert "accepted" in told
    assert "T-1000" in machine.run("edge-gateway", "devices")


def test_a_crash_is_followed_by_a_new_start(machine: Machine) -> None:
    before = restarts(machine)
    machine.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", UNIT)
    machine.wait("a new start", lambda: started_anew(machine, before))


def test_a_blocked_loop_is_killed_by_the_watchdog_and_the_journal_has_the_line(machine: Machine) -> None:
    site = next((machine.root / "opt/edge-gateway/lib").glob("python3.*/site-packages"))
    fault = site / "blocking_decider.py"
    shutil.copy(REPOSITORY / "tests/support/blocking_decider.py", fault)
    machine.write(f"/etc/systemd/system/{UNIT}.service.d/watchdog.conf", "[Service]\nWatchdogSec=3\n")
    machine.write(
        "/etc/edge-gateway/conf.d/fault.toml",
        '[domain]\ndeciders = ["gateway.domain:DECIDERS", "blocking_decider:BLOCKING"]\n'
        '[[operators]]\nactors = ["alice"]\n',
    )
    try:
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", UNIT)
        wait_connected(machine)
        before = restarts(machine)
        machine.run("mosquitto_pub", "-q", "1", "-t", "edge/gw1/cmd/alice/pump-7/block", "-m", "{}")
        machine.wait("the watchdog", lambda: restarts(machine) > before)
    finally:
        fault.unlink()
    journal = machine.journal(UNIT)
    assert "Watchdog timeout" in journal
    assert 'blocking_decider.py", line' in journal


def test_a_reload_takes_over_what_can_change(machine: Machine) -> None:
    machine.write("/etc/edge-gateway/conf.d/operators.toml", '[[operators]]\nactors = ["alice"]\n')
    process = machine.show(UNIT, "MainPID")
    seen = len(logged(machine, "settings_reloaded"))
    machine.run("systemctl", "reload", UNIT)
    machine.wait("the reload", lambda: len(logged(machine, "settings_reloaded")) > seen)
    [told] = logged(machine, "settings_reloaded")[seen:]
    assert told["CHANGED"] == "operators"
    assert machine.show(UNIT, "MainPID") == process


def test_a_reload_of_wrong_settings_leaves_it_running_and_its_status_says_so(machine: Machine) -> None:
    machine.write("/etc/edge-gateway/conf.d/wrong.toml", "[mqtt]\nprot = 1884\n")
    process = machine.show(UNIT, "MainPID")
    machine.run("systemctl", "reload", UNIT)
    machine.wait("the status", lambda: "did you mean 'port'" in machine.show(UNIT, "StatusText"))
    assert machine.show(UNIT, "MainPID") == process


def test_wrong_settings_end_the_start_once_and_for_all(machine: Machine) -> None:
    machine.write("/etc/edge-gateway/conf.d/wrong.toml", "[mqtt]\nprot = 1884\n")
    machine.run("systemctl", "restart", UNIT, check=False)
    machine.wait("the end", lambda: machine.show(UNIT, "ActiveState") == "failed")
    assert int(machine.show(UNIT, "ExecMainStatus")) == SETTINGS_ERROR
    assert restarts(machine) == 0


def test_the_sandbox_holds(machine: Machine) -> None:
    machine.run("systemd-analyze", "security", "--threshold=10", UNIT)
    process = machine.show(UNIT, "MainPID")
    status = dict(line.split(":", 1) for line in machine.run("cat", f"/proc/{process}/status").splitlines())
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
    places = writable_places(machine, process)
    assert places.keys() == {"/var/lib/edge-gateway", "/var/tmp"}
    assert all("noexec" in options for options in places.values())


def test_the_doctor_waits_to_be_asked_and_then_sees_disk_clock_and_process(machine: Machine) -> None:
    wait_connected(machine)
    assert machine.show(f"{DOCTOR}.timer", "UnitFileState") == "disabled"
    # the broker of this machine has no rules: something is wrong
    machine.run("systemctl", "start", DOCTOR, check=False)
    assert machine.show(DOCTOR, "Result") == "exit-code"
    machine.wait("the last finding", lambda: "broker's files" in machine.journal(DOCTOR))
    told = machine.journal(DOCTOR)
    assert "failed  broker: a client without a user can publish commands as any actor" in told
    assert "a durable write takes" in told
    assert "ok      sandbox: the gateway" in told
    # whatever the clock is like, the sandbox does not hide it
    assert "the kernel does not tell" not in told


def test_an_upgrade_keeps_settings_password_and_log_and_starts_the_new_one(own_machine: Machine) -> None:
    machine = own_machine
    wait_connected(machine)
    machine.run("edge-gateway", "send", "pump-7", "register", "model=T-1000", "--actor", "pump-7")
    machine.shell("echo '# ours' >> /etc/edge-gateway/gateway.toml")
    kept = "cat /etc/edge-gateway/gateway.toml /etc/credstore/edge-gateway.mqtt_password"
    before, process = machine.shell(kept), machine.show(UNIT, "MainPID")
    machine.run("dpkg", "--install", "--force-confold", PACKAGE)
    wait_connected(machine)
    assert machine.shell(kept) == before
    assert machine.show(UNIT, "MainPID") != process
    assert "T-1000" in machine.run("edge-gateway", "devices")


def test_what_is_removed_is_gone_but_the_event_log_even_when_purged(own_machine: Machine) -> None:
    machine = own_machine
    machine.run("dpkg", "--remove", UNIT)
    assert machine.show(UNIT, "LoadState") == "not-found"
    assert not (machine.root / "opt/edge-gateway").exists()
    assert (machine.root / "etc/edge-gateway/gateway.toml").exists()
    told = machine.run("dpkg", "--purge", UNIT)
    assert "rm -r /var/lib/edge-gateway" in told
    assert not (machine.root / "etc/edge-gateway").exists()
    assert not (machine.root / "etc/credstore/edge-gateway.mqtt_password").exists()
    assert (machine.root / "var/lib/edge-gateway/gateway.db").exists()


def test_the_commands_of_the_guide_do_what_it_says(package: Path, tmp_path: Path) -> None:
    chapters = re.split(r"^## ", GUIDE.read_text(), flags=re.MULTILINE)
    scripts = {
        chapter.splitlines()[0]: re.findall(r"^```sh\n(.*?)^```", chapter, re.DOTALL | re.MULTILINE)
        for chapter in chapters
    }
    with booted(tmp_path, package) as machine:

        def follow(chapter: str) -> str:
            return "".join(machine.shell(f"cd /srv\n{script}") for script in scripts.pop(chapter))

        assert "Active: active (running)" in follow("The Debian package")
        wait_connected(machine)
        assert "_gateway" in follow("Settings")
        follow("The broker")
        wait_connected(machine)
        assert '"status":"accepted"' in follow("A device").replace(" ", "")
        assert CONNECTED in follow("How it goes")
        assert "192.0.2.53/32" in machine.show(UNIT, "IPAddressAllow").split()
        follow("Is all well?")
        machine.wait("the doctor's findings", lambda: "broker's files" in machine.journal(DOCTOR))
        findings = machine.journal(DOCTOR).splitlines()
        # that of the machine itself, its clock and its disk, is not the guide's
        about = [
            line for line in findings if re.match(r"\w+ +(broker|broker's files|daemon|sandbox|event store): ", line)
        ]
        assert [line for line in about if not line.startswith(("ok ", "skipped "))] == []
        for fine in (
            "the broker lets the gateway in",
            "keeps 150 messages for a client that is away",
            "the broker lets nobody in without a user",
            "has no privileges and can gain none",
            "can be opened for writing",
            "crl.pem is valid until",
        ):
            assert any(line.startswith("ok ") and fine in line for line in about), f"{fine}\n{findings}"
        assert machine.show(f"{DOCTOR}.timer", "ActiveState") == "active"
        follow("Upgrade")
        follow("Backup and restore")
        wait_connected(machine)
        follow("Removal")
        assert machine.show(UNIT, "LoadState") == "not-found"
        assert machine.show(f"{DOCTOR}.timer", "ActiveState") == "inactive"
    assert not any(scripts.values()), "every command of the guide is tried"
