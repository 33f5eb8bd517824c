"""The package itself: what is in it, and what it does to a machine when it comes, is renewed, goes and comes back."""

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.debian_tree import REPOSITORY
from tests.support.installed import DOCTOR, PACKAGE, PASSWORD, UNIT, wait_connected
from tests.support.machine import Machine, missing

WHY_NOT: Final = missing()

pytestmark = [
    pytest.mark.systemd,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
]

DOCUMENTATION: Final = "./usr/share/doc/edge-gateway/"
LINK: Final = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
SHIPPED: Final = re.compile(r"`((?:config|mosquitto)/[\w-]+\.\w+|\d\d-[\w-]+\.conf)`")
"""How the documentation names files that are for an installation."""


def named(document: Path) -> set[Path]:
    """The files that a document links or names, as seen from the top of the documentation."""
    text, place = document.read_text(), document.parent.relative_to(REPOSITORY)
    links = {Path(*(place / link).parts) for link in LINK.findall(text)}
    files = {Path("drop-ins" if "/" not in name else "", name) for name in SHIPPED.findall(text)}
    return {(REPOSITORY / path).resolve().relative_to(REPOSITORY) for path in links | files}


def test_every_file_that_the_documentation_names_is_there(package: Path) -> None:
    listing = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True).stdout
    packed = {line.split()[5] for line in listing.splitlines()}
    documents = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *(REPOSITORY / "docs").rglob("*.md")]
    wanted = {path for document in documents for path in named(document)}
    assert Path("config/alerts.yml") in wanted
    lacking = [
        path for path in sorted(wanted) if {f"{DOCUMENTATION}{path}", f"{DOCUMENTATION}{path}/"} & packed == set()
    ]
    assert lacking == []


def test_an_upgrade_keeps_settings_password_and_log_and_starts_the_new_one(own_machine: Machine) -> None:
    machine = own_machine
    wait_connected(machine)
    machine.run("edge-gateway", "send", "pump-7", "register", "model=T-1000", "--actor", "pump-7")
    machine.shell("echo '# ours' >> /etc/edge-gateway/gateway.toml")
    kept = f"cat /etc/edge-gateway/gateway.toml /{PASSWORD}"
    before, process = machine.shell(kept), machine.show(UNIT, "MainPID")
    machine.run("dpkg", "--install", "--force-confold", PACKAGE)
    wait_connected(machine)
    assert machine.shell(kept) == before
    assert machine.show(UNIT, "MainPID") != process
    assert "T-1000" in machine.run("edge-gateway", "devices")


def test_what_was_removed_comes_back_as_it_was_running_or_not(own_machine: Machine) -> None:
    machine = own_machine
    for choice, enabled, active in (("enable", "enabled", "active"), ("disable", "disabled", "inactive")):
        machine.run("systemctl", choice, UNIT, f"{DOCTOR}.timer")
        machine.run("dpkg", "--remove", UNIT)
        assert machine.show(UNIT, "ActiveState") == "inactive"
        machine.run("dpkg", "--install", PACKAGE)
        for unit in (UNIT, f"{DOCTOR}.timer"):
            assert (machine.show(unit, "UnitFileState"), machine.show(unit, "ActiveState")) == (enabled, active)


def test_an_upgrade_puts_no_password_in_the_clear_beside_one_that_is_encrypted(own_machine: Machine) -> None:
    machine = own_machine
    plain, encrypted = f"/{PASSWORD}", f"/{PASSWORD.replace('credstore', 'credstore.encrypted')}"
    machine.run("install", "-d", "-m", "700", "/etc/credstore.encrypted")
    machine.run("mv", plain, encrypted)
    machine.run("dpkg", "--install", PACKAGE)
    assert not (machine.root / PASSWORD).exists()
    machine.run("rm", encrypted)
    machine.run("dpkg", "--install", PACKAGE)
    assert (machine.root / PASSWORD).exists()


def test_what_is_removed_is_gone_but_the_event_log_even_when_purged(own_machine: Machine) -> None:
    machine = own_machine
    machine.run("dpkg", "--remove", UNIT)
    assert machine.show(UNIT, "LoadState") == "not-found"
    assert not (machine.root / "opt/edge-gateway").exists()
    assert (machine.root / "etc/edge-gateway/gateway.toml").exists()
    told = machine.run("dpkg", "--purge", UNIT)
    assert "rm -r /var/lib/edge-gateway" in told
    assert not (machine.root / "etc/edge-gateway").exists()
    assert not (machine.root / PASSWORD).exists()
    assert (machine.root / "var/lib/edge-gateway/gateway.db").exists()
