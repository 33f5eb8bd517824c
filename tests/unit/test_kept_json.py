import subprocess
import sys

KEPT = """
from pathlib import Path
from gateway.codec import kept_json

def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

value = {"text": "x" * 500}
kept = [kept_json(value)]
before = resident()
kept += [kept_json(value) for _ in range(10_000)]
print((resident() - before) // 10_000)
"""


def test_json_that_is_kept_takes_no_more_memory_than_it_has_bytes() -> None:
    # in a process of its own: in this one, what others have freed would be taken again unseen
    told = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True).stdout
    assert 500 < int(told) < 1_000
