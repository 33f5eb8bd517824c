"""The package, built once; a machine that has it and that tests share, and one of a test's own."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.debian_tree import REPOSITORY
from tests.support.installed import DROP_INS, UNIT, installed
from tests.support.machine import Machine


@pytest.fixture(scope="session")
def package() -> Path:
    done = subprocess.run([REPOSITORY / "systemd/deb/build"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return REPOSITORY / done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def shared(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with installed(tmp_path_factory.mktemp("machine"), package) as machine:
        yield machine


@pytest.fixture
def machine(shared: Machine) -> Iterator[Machine]:
    """The machine that the tests share, in good order before and after."""
    yield shared
    shared.run("sh", "-c", f"rm -rf /etc/edge-gateway/conf.d/* {DROP_INS}")
    shared.run("systemctl", "daemon-reload")
    shared.run("systemctl", "restart", UNIT)


@pytest.fixture
def own_machine(package: Path, tmp_path: Path) -> Iterator[Machine]:
    with installed(tmp_path, package) as machine:
        yield machine
