"""The machine: its clock, and whether memory limits hold on it."""

import ctypes
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from gateway.adapters.state_dir import last_sign_of_life
from gateway.doctor.findings import Finding, fine, skipped, warning
from gateway.errors import StateError
from gateway.settings import Settings

CGROUPS: Final = Path("/sys/fs/cgroup")
_UNSYNCHRONISED: Final = 5
_TIMEX_SIZE: Final = 1_024
"""Bytes; more than the kernel's ``struct timex`` has anywhere."""


def clock_state() -> int:
    """What the kernel knows of its clock, as adjtimex(2) returns it; it needs no privilege to ask."""
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.adjtimex(ctypes.create_string_buffer(_TIMEX_SIZE)))


def check_clock(settings: Settings) -> Iterator[Finding]:
    """It is set by somebody, and does not stand in the past."""
    state = clock_state()
    if state < 0:
        yield skipped("the kernel does not tell whether its clock is synchronised")
    elif state == _UNSYNCHRONISED:
        yield warning(
            "the clock is not synchronised: commands may expire too early or too late",
            "run systemd-timesyncd or chrony; on a Pi without network a clock module",
        )
    else:
        yield fine("the clock is synchronised")
    try:
        seen = last_sign_of_life(settings.gateway.state_dir)
    except StateError:
        return
    if seen is not None and seen - datetime.now(UTC) > timedelta(seconds=settings.outages.clock_tolerance):
        yield warning(
            f"the state directory was written at {seen:%Y-%m-%d %H:%M:%S}, which lies ahead of the clock",
            "set the clock",
        )


def check_memory_limit(_settings: Settings) -> Iterator[Finding]:
    """The kernel counts memory by group, so that MemoryMax= of a unit has an effect."""
    try:
        controllers = (CGROUPS / "cgroup.controllers").read_text(encoding="utf-8").split()
    except OSError:
        yield skipped("no cgroup v2 here: whether memory limits hold cannot be told")
        return
    if "memory" in controllers:
        yield fine("memory limits of units hold")
    else:
        yield warning(
            "the kernel has no memory controller: MemoryMax= of the unit has no effect",
            "on a Pi add cgroup_enable=memory to /boot/firmware/cmdline.txt and restart the machine",
        )
