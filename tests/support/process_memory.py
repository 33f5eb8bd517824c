"""How much memory a process has in use."""

import re
from pathlib import Path
from typing import Final

MEBIBYTE: Final = 1024 * 1024


def resident(process_id: int) -> int:
    """Bytes of it that are in memory."""
    status = Path(f"/proc/{process_id}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024
