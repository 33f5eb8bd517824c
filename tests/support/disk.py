"""Disks that fill up or become read-only under a running gateway."""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.support.gateway_process import GatewayProcess

SMALL: Final = "8m"
"""Size of a disk: little to fill up, and room for some thousand events."""


@contextmanager
def no_room(gateway: GatewayProcess) -> Iterator[None]:
    """Every file of the gateway is as large as it may get, as on a full disk."""
    wal = gateway.database.with_name(f"{gateway.database.name}-wal")
    _, hard = resource.prlimit(gateway.process_id, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.process_id, resource.RLIMIT_FSIZE, (wal.stat().st_size, hard))
    try:
        yield
    finally:
        resource.prlimit(gateway.process_id, resource.RLIMIT_FSIZE, (hard, hard))


class Disk:
    """A small file system of its own.

    Attributes:
        path: where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    @contextmanager
    def full(self) -> Iterator[None]:
        """It has no free block left."""
        self._fill()
        try:
            yield
        finally:
            self._filler.unlink()

    def _fill(self) -> None:
        with self._filler.open("ab", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4_096))

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """It cannot be written; possible only while no file on it is open for writing."""
        self._remount("ro")
        try:
            yield
        finally:
            self._remount("rw")

    def _remount(self, mode: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{mode}", str(self.path)], check=True)


@contextmanager
def mounted(path: Path) -> Iterator[Disk]:
    """A small disk; the test is skipped where nothing can be mounted."""
    path.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "edge-gateway-test", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("a small disk cannot be mounted here: there is no mount command")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        # also where a test that failed left a file open
        subprocess.run(["umount", "--lazy", str(path)], check=True)
