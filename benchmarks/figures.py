"""What is measured in one turn, and the arithmetic of it. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Turn:
    """One contender under one load.

    Attributes:
        rate: commands answered in a second.
        p50: milliseconds from publishing a command to its answer; half of them took no longer.
        cpu_us: of the contender for each command.
        rss_mib: of the contender at the end.
        generator: share of one core that the load generator used. Near 1 it is the load generator that is measured.
        broker: the same of the broker.
    """

    rate: float
    p50: float
    p99: float
    p999: float
    longest: float
    cpu_us: float
    rss_mib: float
    generator: float
    broker: float


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure over several rounds."""

    median: float
    least: float
    most: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that so large a share of all does not exceed (nearest rank); NaN where there is none.

    Args:
        ordered: ascending.
        share: above 0, up to 1.
    """
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most."""
    return Spread(median(values), min(values), max(values))
