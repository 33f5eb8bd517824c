"""How long each step from receipt to acknowledgement takes, as histograms that cost next to nothing.

And the hook for whoever wants to know of each command on its own: its trace.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from gateway.messages import Answer, Request

BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: the upper bounds of the buckets; one more takes what is above."""


class Step(StrEnum):
    """What is measured."""

    INTAKE = "intake"
    """A delivery becomes a request."""
    QUEUE = "queue"
    """It waits behind others of its device."""
    SETTLE = "settle"
    """It is decided, written and remembered, with its batch."""
    APPEND = "append"
    """One write to the event store, of a whole batch; a part of the step above."""
    CONFIRM = "confirm"
    """The broker takes the acknowledgement."""
    TOTAL = "total"
    """From receipt until the broker has the acknowledgement."""


Observe = Callable[[Step, float, int], None]
"""Called with a step, the seconds that it took, and for how many it took that long."""


def unobserved(_step: Step, _seconds: float, _times: int = 1) -> None:
    """Nobody wants to know."""


Trace = Callable[[Request, Answer], None]
"""Called with each copy of a command and its answer, once the broker has the answer."""


def untraced(_request: Request, _answer: Answer) -> None:
    """Nobody follows traces."""


class Histogram:
    """Durations by bucket.

    Attributes:
        counts: how many in each bucket, the last for what is above all bounds.
        seconds: of all together.
    """

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def cumulative(self) -> Sequence[tuple[str, int]]:
        """For each bound, as text, how many took at most so long."""
        total = 0
        rows = []
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            total += count
            rows.append((bound, total))
        return rows


class Latencies:
    """One histogram a step."""

    def __init__(self) -> None:
        self._histograms = {step: Histogram() for step in Step}

    @property
    def histograms(self) -> Mapping[Step, Histogram]:
        """By step."""
        return MappingProxyType(self._histograms)

    def observe(self, step: Step, seconds: float, times: int = 1) -> None:
        """Take note of a duration."""
        histogram = self._histograms[step]
        histogram.counts[bisect_left(BOUNDS, seconds)] += times
        histogram.seconds += seconds * times
