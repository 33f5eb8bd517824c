"""What the fuzzer begins with, without the fuzzer: each input keeps the promises, and the loop for less than 0.1 s."""

from collections.abc import Callable

import pytest

from tests.fuzz.targets import SEEDS, commands, packets, queries

TARGETS: dict[str, Callable[[bytes], None]] = {"commands": commands, "queries": queries, "packets": packets}


def test_each_target_has_its_seeds() -> None:
    assert TARGETS.keys() == SEEDS.keys()


@pytest.mark.parametrize("name", TARGETS)
def test_no_seed_breaks_a_promise_or_keeps_the_loop(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)
