import subprocess
import sys

FRAGMENTED = """
from pathlib import Path
from gateway.adapters.heap import give_back

def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

# what stays lies between what goes
both = [(bytes(100_000), bytes(1_000)) for _ in range(1_000)]
stays = [small for _, small in both]
before = resident()
del both
held = resident()
give_back()
print(before - held, held - resident())
"""


KEPT = """
import gc
from gateway.adapters.heap import keep

documents = [{"id": number, "reported": {"list": []}} for number in range(10_000)]
before = len(gc.get_objects())
keep()
print(before - len(gc.get_objects()))
"""


def test_what_is_kept_is_not_looked_at_any_more() -> None:
    told = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True).stdout
    assert int(told) > 10_000


def test_what_was_freed_between_things_that_stay_is_given_back() -> None:
    told = subprocess.run([sys.executable, "-c", FRAGMENTED], capture_output=True, text=True, check=True).stdout
    at_once, later = map(int, told.split())
    assert at_once < 10_000_000
    assert later > 50_000_000
