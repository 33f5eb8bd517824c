"""The package on a machine with a real systemd: started, watched, reloaded, and sandboxed."""

import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.support.debian_tree import REPOSITORY
from tests.support.installed import (
    DOCTOR,
    DROP_INS,
    PASSWORD,
    SETTINGS_ERROR,
    UNIT,
    drop_in,
    is_connected,
    logged,
    restarts,
    wait_connected,
)
from tests.support.machine import Machine, missing

WHY_NOT: Final = missing()

pytestmark = [
    pytest.mark.systemd,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
]


def started_anew(machine: Machine, before: int) -> bool:
    return restarts(machine) > before and machine.show(UNIT, "ActiveState") == "active"


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
    machine.write(f"{DROP_INS}/watchdog.conf", "[Service]\nWatchdogSec=3\n")
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


def test_what_a_gateway_may_write_in_run_it_cannot_execute(machine: Machine) -> None:
    [mount] = [
        line.split()
        for line in machine.run("cat", f"/proc/{machine.show(UNIT, 'MainPID')}/mountinfo").splitlines()
        if line.split()[4] == "/run/edge-gateway"
    ]
    assert {"rw", "noexec"} <= set(mount[5].split(","))


def test_metrics_are_served_at_a_socket_that_only_the_gateways_group_reaches(machine: Machine) -> None:
    machine.write(
        "/etc/edge-gateway/conf.d/metrics.toml", '[metrics]\nlisten = "unix:/run/edge-gateway/metrics.sock"\n'
    )
    machine.run("systemctl", "restart", UNIT)
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/edge-gateway/metrics.sock'); "
        "s.sendall(b'GET /metrics HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n'); print(s.makefile().read())"
    )

    def asked_by(user: str, *groups: str) -> str:
        privileges = ("setpriv", f"--reuid={user}", f"--regid={user}", f"--groups={','.join(groups) or user}")
        return machine.run(*privileges, "/opt/edge-gateway/bin/python3", "-c", ask, check=False)

    machine.wait("the metrics", lambda: "edge_gateway_info" in asked_by("daemon", UNIT))
    assert "PermissionError" in asked_by("daemon")


def test_a_broker_on_another_machine_is_out_of_reach_until_its_address_is_named(machine: Machine) -> None:
    remote = "192.0.2.10"
    machine.run("ip", "address", "replace", f"{remote}/32", "dev", "lo")
    machine.write("/etc/mosquitto/conf.d/remote.conf", f"allow_anonymous true\nlistener 1883 {remote}\n")
    machine.write("/etc/edge-gateway/conf.d/remote.toml", f'[mqtt]\nhost = "{remote}"\nconnect_timeout = 1.0\n')
    try:
        machine.run("systemctl", "restart", "mosquitto")
        machine.run("mosquitto_pub", "-h", remote, "-t", "test", "-m", "the way is open to others")
        machine.run("systemctl", "restart", UNIT)
        # a kernel that blocks says nothing: what is sent is lost
        machine.wait("an attempt", lambda: any(line["REASON"] == "timed out" for line in logged(machine, "link_lost")))
        assert not is_connected(machine)
        drop_in(machine, "20-remote.conf")
        machine.run("systemctl", "restart", UNIT)
        wait_connected(machine)
    finally:
        machine.run("rm", "/etc/mosquitto/conf.d/remote.conf")
        machine.run("systemctl", "restart", "mosquitto")


def test_a_password_that_is_encrypted_is_given_to_the_gateway_as_it_was(machine: Machine) -> None:
    plain, encrypted = f"/{PASSWORD}", f"/{PASSWORD.replace('credstore', 'credstore.encrypted')}"
    password = machine.run("cat", plain)
    machine.run("install", "-d", "-m", "700", "/etc/credstore.encrypted")
    machine.run("systemd-creds", "encrypt", "--name=mqtt_password", plain, encrypted)
    drop_in(machine, "30-encrypted-credentials.conf")
    machine.run("mv", plain, "/srv/plain")
    try:
        machine.run("systemctl", "restart", UNIT)
        process = machine.show(UNIT, "MainPID")
        given = machine.run("cat", str(Path("/proc", process, "root", f"run/credentials/{UNIT}.service/mqtt_password")))
        assert given == password
        assert password.strip() not in machine.run("cat", encrypted)
    finally:
        machine.run("mv", "/srv/plain", plain)
        machine.run("rm", encrypted)


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
