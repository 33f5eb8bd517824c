"""How fast each actor may send: one token bucket an actor, in bounded memory."""

from collections import OrderedDict
from typing import Final

MAX_ACTORS: Final = 10_000


class RateLimit:
    """A token bucket for each actor.

    Attributes:
        rate: commands a second that an actor may sustain; 0 for no limit.
        burst: commands that an actor may send at once after a pause.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        # least recently seen first; the tokens an actor had left, and when (monotonic seconds)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, actor: str, now: float) -> float:
        """Take one token: 0 where there is one, else the seconds until there will be."""
        if not self.rate:
            return 0.0
        tokens, since = self._buckets.pop(actor, (float(self.burst), now))
        tokens = min(self.burst, tokens + (now - since) * self.rate)
        allowed = tokens >= 1
        self._buckets[actor] = (tokens - allowed, now)
        if len(self._buckets) > MAX_ACTORS:
            # whoever is forgotten starts with a full bucket: bounded memory in favour of the sender
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self.rate
