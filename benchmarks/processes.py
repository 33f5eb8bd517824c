"""What the kernel knows of a process."""

import os
from pathlib import Path
from typing import Final

from tests.support.process_memory import MEBIBYTE, resident

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_seconds(process_id: int) -> float:
    """That all threads of it have used."""
    # the name may contain anything, so what counts begins behind its last bracket
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mib(process_id: int) -> float:
    """MiB of it that are in memory."""
    return resident(process_id) / MEBIBYTE
