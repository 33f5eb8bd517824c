"""The guide to installation, command by command, as it is written: from a bare Debian to a device, and back."""

import re
import shutil
import sqlite3
from pathlib import Path
from typing import Final

import pytest

from tests.support.debian_tree import REPOSITORY, wheels
from tests.support.installed import (
    CONNECTED,
    DOCTOR,
    DROP_INS,
    PASSWORD,
    SETTINGS_ERROR,
    UNIT,
    booted,
    checkout,
    logged,
    wait_connected,
)
from tests.support.machine import Machine, missing

WHY_NOT: Final = missing()

pytestmark = [
    pytest.mark.systemd,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
]

GUIDE: Final = (REPOSITORY / "docs/install.md").read_text()
CHECKOUT: Final = "/srv/edge-gateway"
PYTHONS: Final = {"bookworm": "3.11", "trixie": "3.13"}
NOTIFY_RELOAD: Final = 253
"""The first systemd that knows it."""


class Reader:
    """Types what is in the guide, chapter by chapter."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.scripts = {
            chapter.splitlines()[0]: re.findall(r"^```sh\n(.*?)^```", chapter, re.DOTALL | re.MULTILINE)
            for chapter in re.split(r"^## ", GUIDE, flags=re.MULTILINE)
        }

    def follows(self, chapter: str, *, within: str = "/srv") -> str:
        """Type all of it; what that prints."""
        return "".join(self._machine.shell(f"cd {within}\n{script}") for script in self.scripts.pop(chapter))


def ours(machine: Machine) -> set[str]:
    """What on the disk has the gateway's name, but for what the test has put there and the backups."""
    told = machine.run("find", "/", "-xdev", "-name", "*edge-gateway*").splitlines()
    return {path for path in told if not path.startswith(("/srv/", "/var/backups/", "/var/log/", "/proc/", "/tmp/"))}


def test_the_commands_of_the_guide_do_what_it_says(package: Path, tmp_path: Path) -> None:
    with booted(tmp_path, package) as machine:
        before = ours(machine)
        reader = Reader(machine)
        assert "Active: active (running)" in reader.follows("The Debian package")
        wait_connected(machine)
        assert "_gateway" in reader.follows("Settings")
        reader.follows("The broker")
        wait_connected(machine)
        assert '"status":"accepted"' in reader.follows("A device").replace(" ", "")
        assert CONNECTED in reader.follows("How it goes")
        assert "192.0.2.53/32" in machine.show(UNIT, "IPAddressAllow").split()
        reader.follows("Is all well?")
        assert_well(machine)
        assert machine.show(f"{DOCTOR}.timer", "ActiveState") == "active"
        reader.follows("A password that is not in the clear")
        wait_connected(machine)
        machine.run("systemctl", "start", DOCTOR, check=False)
        assert machine.show(DOCTOR, "Result") in {"success", "exit-code"}, "it was not given the password"
        reader.follows("Upgrade")
        wait_connected(machine)
        assert not (machine.root / PASSWORD).exists()
        return_from_a_newer_version(machine)
        assert int(machine.show(UNIT, "ExecMainStatus")) == SETTINGS_ERROR
        assert "newer gateway" in machine.journal(UNIT)
        reader.follows("Back to an older version")
        wait_connected(machine)
        assert "T-1000" in machine.run("edge-gateway", "devices")
        reader.follows("Backup and restore")
        wait_connected(machine)
        reader.follows("Removal")
        assert machine.show(UNIT, "LoadState") == "not-found"
        assert machine.show(f"{DOCTOR}.timer", "ActiveState") == "inactive"
        assert machine.show("mosquitto", "ActiveState") == "active"
        assert ours(machine) == before
        reader.scripts.pop("With pipx")
    assert not any(reader.scripts.values()), "every command of the guide is tried"


def assert_well(machine: Machine) -> None:
    """The doctor finds that the guide has left nothing wrong."""
    machine.wait("the doctor's findings", lambda: "broker's files" in machine.journal(DOCTOR))
    findings = machine.journal(DOCTOR).splitlines()
    # that of the machine itself, its clock and its disk, is not the guide's
    about = [line for line in findings if re.match(r"\w+ +(broker|broker's files|daemon|sandbox|event store): ", line)]
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


def return_from_a_newer_version(machine: Machine) -> None:
    """As after an upgrade that has changed the database, and back to this version without a copy."""
    machine.run("systemctl", "stop", UNIT)
    database = sqlite3.connect(machine.root / "var/lib/edge-gateway/gateway.db")
    try:
        database.execute("PRAGMA user_version = 1000")
    finally:
        database.close()
    machine.run("systemctl", "start", UNIT, check=False)
    machine.wait("the end", lambda: machine.show(UNIT, "ActiveState") == "failed")


@pytest.mark.parametrize("codename", PYTHONS)
def test_the_chapter_on_pipx_leads_as_far(tmp_path: Path, codename: str) -> None:
    machine = Machine(tmp_path / "root", codename)
    try:
        checkout(machine, CHECKOUT)
        # a machine of a test has no network: what pip would fetch is there already
        shutil.copytree(wheels(PYTHONS[codename]), machine.root / "srv/wheels")
        machine.write("/etc/pip.conf", "[global]\nno-index = true\nfind-links = /srv/wheels\n")
        reader = Reader(machine)
        reader.follows("With pipx", within=CHECKOUT)
        wait_connected(machine)
        reader.follows("Settings")
        reader.follows("The broker")
        wait_connected(machine)
        assert '"status":"accepted"' in reader.follows("A device").replace(" ", "")
        machine.run("systemd-analyze", "security", "--threshold=10", UNIT)
        if int(machine.run("systemctl", "--version").split()[1]) >= NOTIFY_RELOAD:
            reloads_by_itself(machine)
    finally:
        machine.close()


def reloads_by_itself(machine: Machine) -> None:
    """With the drop-in systemd sends the signal, once, and waits until the gateway is done with it."""
    machine.shell(f"cp {CHECKOUT}/systemd/drop-ins/10-notify-reload.conf {DROP_INS}/ && systemctl daemon-reload")
    machine.run("systemctl", "restart", UNIT)
    assert machine.show(UNIT, "Type") == "notify-reload"
    machine.write("/etc/edge-gateway/conf.d/interval.toml", "[health]\ninterval = 5.0\n")
    process, seen = machine.show(UNIT, "MainPID"), len(logged(machine, "settings_reloaded"))
    machine.run("systemctl", "reload", UNIT)
    machine.wait("the reload", lambda: len(logged(machine, "settings_reloaded")) > seen)
    [told] = logged(machine, "settings_reloaded")[seen:]
    assert told["CHANGED"] == "health.interval"
    assert machine.show(UNIT, "MainPID") == process
