"""What the gateway is meant to reach, and whether it did. Pure.

Every figure is one of a contender beside one of another in the same round, or a latency on the same machine.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.contenders.names import BOOK, GATEWAY, LINK, LOOP, NAIVE, RAW, REMOTE
from benchmarks.figures import Spread, Turn, spread

SATURATED: Final = "saturated"
HOT: Final = "one hot device"
SINGLE: Final = "one in flight"
HALF: Final = "half the rate"

COLLAPSE: Final = 2.0
"""What is worse than its target by this factor is no noise."""

Key = tuple[str, str]
"""Contender and load."""

Round = Mapping[Key, Turn]


@dataclass(frozen=True, slots=True)
class Target:
    """A figure of each round, and its limit.

    Attributes:
        needs: the turns without which it cannot be told.
        at_least: whether the limit is the least; else it is the most.
    """

    name: str
    needs: tuple[Key, ...]
    figure: Callable[[Round], float]
    limit: float
    at_least: bool
    unit: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A target, and what was measured beside it."""

    target: Target
    measured: Spread

    @property
    def reached(self) -> bool:
        """Whether the median is within the limit."""
        return self._within(self.target.limit)

    @property
    def collapsed(self) -> bool:
        """Whether the median is worse than the limit by far."""
        limit = self.target.limit
        return not self._within(limit / COLLAPSE if self.target.at_least else limit * COLLAPSE)

    def _within(self, limit: float) -> bool:
        return self.measured.median >= limit if self.target.at_least else self.measured.median <= limit


def judge(rounds: Sequence[Round]) -> list[Judged]:
    """Every target that these rounds tell something about."""
    told = [target for target in TARGETS if all(key in one for key in target.needs for one in rounds)]
    return [Judged(target, spread([target.figure(one) for one in rounds])) for target in told]


def _ratio(name: str, of: Key, to: Key, limit: float) -> Target:
    return Target(name, (of, to), lambda one: one[of].rate / one[to].rate, limit, at_least=True, unit="x")


_OURS: Final = (GATEWAY, SATURATED)

TARGETS: Final = (
    _ratio("gateway / link echo", _OURS, (LINK, SATURATED), 0.75),
    _ratio("gateway / aiomqtt echo", _OURS, (BOOK, SATURATED), 1.0),
    _ratio("gateway / naive gateway", _OURS, (NAIVE, SATURATED), 2.5),
    _ratio("gateway / raw echo", _OURS, (RAW, SATURATED), 0.35),
    _ratio("one hot device / 500 devices", (GATEWAY, HOT), _OURS, 0.9),
    Target(
        "one in flight: p50 above that of the link echo",
        ((GATEWAY, SINGLE), (LINK, SINGLE)),
        lambda one: one[GATEWAY, SINGLE].p50 - one[LINK, SINGLE].p50,
        1.0,
        at_least=False,
        unit="ms",
    ),
    Target(
        "half the saturated rate: p99",
        ((GATEWAY, HALF),),
        lambda one: one[GATEWAY, HALF].p99,
        25.0,
        at_least=False,
        unit="ms",
    ),
    _ratio("gateway + ESDB / append loop", (REMOTE, SATURATED), (LOOP, SATURATED), 0.7),
    _ratio("gateway + ESDB, one hot device / append loop", (REMOTE, HOT), (LOOP, SATURATED), 2.0),
)
