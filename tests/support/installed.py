"""The package on a machine: how it gets there, and what is looked at."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.debian_tree import REPOSITORY
from tests.support.machine import Machine

UNIT: Final = "edge-gateway"
DOCTOR: Final = "edge-gateway-doctor"
PACKAGE: Final = "/srv/edge-gateway_test.deb"
PASSWORD: Final = "etc/credstore/edge-gateway.mqtt_password"
DROP_INS: Final = f"/etc/systemd/system/{UNIT}.service.d"
CONNECTED: Final = "broker connected; event store there"
SETTINGS_ERROR: Final = 78


@contextmanager
def booted(directory: Path, package: Path) -> Iterator[Machine]:
    """A bare machine that has the package at hand."""
    machine = Machine(directory / "root")
    try:
        shutil.copy(package, machine.root / PACKAGE[1:])
        yield machine
    finally:
        machine.close()


@contextmanager
def installed(directory: Path, package: Path) -> Iterator[Machine]:
    """A machine that has it installed, with a broker that lets everybody on this machine in."""
    with booted(directory, package) as machine:
        machine.run("apt-get", "install", "--yes", PACKAGE)
        yield machine


def restarts(machine: Machine) -> int:
    """How often systemd has started it again by itself."""
    return int(machine.show(UNIT, "NRestarts"))


def is_connected(machine: Machine) -> bool:
    """Whether the gateway has its broker."""
    return machine.show(UNIT, "StatusText").startswith(CONNECTED)


def wait_connected(machine: Machine) -> None:
    """Wait until it has."""
    machine.wait("a connection", lambda: is_connected(machine))


def logged(machine: Machine, event: str) -> list[dict[str, object]]:
    """The entries of the journal about an event, with the fields that the gateway gave them."""
    told = machine.run("journalctl", "--no-pager", "--output=json", "--unit", UNIT, f"EVENT={event}")
    return [json.loads(line) for line in told.splitlines() if line.startswith("{")]


def drop_in(machine: Machine, name: str) -> None:
    """Put one of the drop-ins that the package brings into effect, for the next start."""
    machine.shell(f"mkdir -p {DROP_INS} && cp /usr/share/doc/edge-gateway/drop-ins/{name} {DROP_INS}/")
    machine.run("systemctl", "daemon-reload")


def checkout(machine: Machine, directory: str) -> None:
    """Put the sources there, as they are here."""
    for part in ("gateway", "systemd", "config", "pyproject.toml", "README.md", "LICENSE"):
        here, there = REPOSITORY / part, machine.root / directory[1:] / part
        there.parent.mkdir(parents=True, exist_ok=True)
        if here.is_dir():
            shutil.copytree(here, there, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(here, there)
