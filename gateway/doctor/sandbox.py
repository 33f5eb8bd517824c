"""The sandbox of the gateway that runs: what the kernel says of it, beside what the unit asks for."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.adapters.state_dir import process_in
from gateway.doctor.findings import Finding, fine, skipped, warning
from gateway.errors import StateError
from gateway.settings import Settings

PROCESSES: Final = Path("/proc")

_WANTED: Final[Mapping[str, tuple[int, str]]] = {
    "CapEff": (0, "it has capabilities"),
    "CapBnd": (0, "it could gain capabilities"),
    "NoNewPrivs": (1, "it could gain privileges"),
    "Seccomp": (2, "no system call is kept from it"),
}
"""Lines of ``/proc/PID/status``: what the unit leads to, and what it means if it is something else."""

_ROOT: Final = "it runs as root"
_REMEDY: Final = "start it by edge-gateway.service; systemctl cat edge-gateway shows drop-ins that loosen it"


def check_sandbox(settings: Settings) -> Iterator[Finding]:
    """The gateway can do no more than it has to."""
    try:
        process = process_in(settings.gateway.state_dir)
    except StateError as error:
        yield skipped(str(error))
        return
    if process is None:
        yield skipped("no gateway runs, whose sandbox could be looked at")
        return
    try:
        status = (PROCESSES / str(process) / "status").read_text(encoding="utf-8")
    except OSError as error:
        yield skipped(f"what process {process} may do cannot be seen from here: {error.strerror}")
        return
    loose = what_is_loose(status)
    if loose:
        yield warning(f"the gateway runs without its sandbox, or with a part of it: {', '.join(loose)}", _REMEDY)
    else:
        yield fine(f"the gateway, process id {process}, has no privileges and can gain none")


def what_is_loose(status: str) -> list[str]:
    """What is not as the unit has it, out of ``/proc/PID/status``."""
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    loose = [_ROOT] if lines["Uid"].split()[1] == "0" else []
    for name, (wanted, meaning) in _WANTED.items():
        # a kernel that lacks the means has no such line
        found = lines.get(name, "absent").strip()
        if found == "absent" or int(found, 16) != wanted:
            loose.append(f"{meaning} ({name} {found})")
    return loose
