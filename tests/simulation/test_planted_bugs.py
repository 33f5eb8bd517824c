"""The simulation must find what is wrong, or its silence means nothing: bugs are planted, one at a time."""

import pytest

from tests.simulation.planted import BUGS, Planted
from tests.simulation.run import simulate

SEEDS = 1_000


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: Planted) -> None:
    # by itself: a seed that fails without the bug, too, says nothing
    found = (seed for seed in range(SEEDS) if simulate(seed, bug()).faults and not simulate(seed).faults)

    assert next(found, None) is not None
