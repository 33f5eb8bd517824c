"""The state directory, the disk under it, and who uses it."""

import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from typing import Final

from gateway.adapters.sqlite import DATABASE_FILE
from gateway.adapters.state_dir import process_in
from gateway.doctor.findings import Finding, failed, fine, skipped, warning
from gateway.errors import StateError
from gateway.settings import Settings

MOUNTS: Final = Path("/proc/self/mountinfo")
WRITES: Final = 20
SLOW_WRITE: Final = 0.1
"""Seconds for one write with fsync: as long as a command waits at least."""

_FULL: Final = 0.9
_VOLATILE: Final = frozenset({"tmpfs", "ramfs", "overlay"})
_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"})


def check_state_dir(settings: Settings) -> Iterator[Finding]:
    """It is there, private, and on a disk that keeps it."""
    directory = settings.gateway.state_dir
    try:
        mode = stat.S_IMODE(directory.stat().st_mode)
    except OSError as error:
        yield failed(f"{directory}: {error.strerror}", "make it, for the gateway's user, or name another state_dir")
        return
    if not os.access(directory, os.W_OK | os.X_OK):
        yield failed(f"{directory} cannot be written by this user", "chown it to the gateway's user, or run as that")
    elif mode & 0o027:
        yield warning(f"{directory} has mode {mode:o}: others can look in", f"chmod 750 {directory}")
    else:
        yield fine(f"{directory} is private, mode {mode:o}")
    for file in sorted(directory.glob(f"{DATABASE_FILE}*")):
        if file.stat().st_mode & 0o007:
            yield failed(f"{file} can be opened by everybody", f"chmod 640 {file}")
    kind = filesystem_of(directory.resolve(), MOUNTS.read_text(encoding="utf-8"))
    if kind in _VOLATILE:
        yield failed(f"{directory} lies on {kind}: a restart of the machine may empty it", "move it to a disk")
    elif kind in _REMOTE:
        yield failed(f"{directory} lies on {kind}: SQLite's log needs a disk of this machine", "move it to such a disk")


def filesystem_of(path: Path, mounts: str) -> str:
    """The kind of file system that a path lies on, out of ``/proc/self/mountinfo``."""
    best, kind = "", ""
    for line in mounts.splitlines():
        about, _, below = line.partition(" - ")
        point = about.split()[4].encode().decode("unicode_escape")
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, below.split()[0]
    return kind


def check_disk(settings: Settings) -> Iterator[Finding]:
    """There is room, and a write does not take long."""
    directory = settings.gateway.state_dir
    if not os.access(directory, os.W_OK):
        yield skipped(f"{directory} cannot be written")
        return
    usage = shutil.disk_usage(directory)
    room = f"{usage.free / 2**20:,.0f} MiB free"
    if usage.free <= settings.limits.disk_reserve:
        yield failed(f"{room}: less than limits.disk_reserve, nothing can be parked", "make room on the disk")
    elif usage.used > _FULL * (usage.used + usage.free):
        yield warning(f"{room}: nine tenths are in use", "make room; the log only grows")
    else:
        yield fine(room)
    try:
        times = sorted(_write(directory, 4_096) for _ in range(WRITES))
    except OSError as error:
        yield failed(f"a write fails: {error.strerror}", "look at the kernel's log: the disk may be dying or full")
        return
    speed = f"a durable write takes {median(times) * 1_000:.1f} ms, the slowest of {WRITES} {times[-1] * 1_000:.1f} ms"
    if median(times) > SLOW_WRITE:
        yield warning(speed, "a command cannot be quicker than that: use an SSD, or a better memory card")
    else:
        yield fine(speed)


def _write(directory: Path, size: int) -> float:
    with TemporaryFile(dir=directory, prefix=".doctor-") as file:
        began = time.perf_counter()
        file.write(bytes(size))
        file.flush()
        os.fsync(file.fileno())
        return time.perf_counter() - began


def check_daemon(settings: Settings) -> Iterator[Finding]:
    """Whether a gateway runs on this state."""
    try:
        holder = process_in(settings.gateway.state_dir)
    except StateError as error:
        yield skipped(str(error))
        return
    if holder is None:
        yield warning("no gateway runs on this state directory", "start it: systemctl start edge-gateway")
    else:
        yield fine(f"a gateway runs, process id {holder}")
