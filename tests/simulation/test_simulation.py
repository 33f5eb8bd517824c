"""The gateway under simulated troubles, from one seed each: no thread, no socket, no real time."""

import os
import subprocess
import sys
from typing import Final

import pytest

from tests.simulation.__main__ import verdict
from tests.simulation.run import simulate

RUNS: Final = 300
CHUNKS: Final = 6


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_promise_is_kept_in_every_run(chunk: int) -> None:
    broken = [run for seed in range(chunk, RUNS, CHUNKS) if (run := simulate(seed)).faults]

    assert not broken, "\n".join(verdict(run) for run in broken)


def test_a_seed_gives_the_same_run_each_time() -> None:
    first, second, other = simulate(29), simulate(29), simulate(8)

    assert first.trace == second.trace
    assert first.trace != other.trace


def test_a_seed_gives_the_same_run_in_another_process() -> None:
    told = [_told(29, hash_seed) for hash_seed in ("1", "2")]

    assert told[0] == told[1]
    assert len(told[0].splitlines()) > 100


def _told(seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.simulation", str(seed)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
