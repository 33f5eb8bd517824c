"""What goes wrong in a run, and when: drawn before it begins. Each run has a few kinds of trouble, not all of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from tests.simulation.world import Limits

LATEST: Final = 8.0
"""Seconds after which a write that nobody heard of has landed, or never will."""

CALM_AFTER: Final = 40.0
"""Seconds after which nothing new goes wrong."""
LOSING: Final = frozenset({"store is silent", "store loses calls", "store loses some calls", "store loses answers"})
"""Troubles in which the store may do what it is asked, and nobody hears of it."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that goes wrong.

    Attributes:
        at: when it begins, in seconds.
        lasts: how long, where it lasts.
    """

    at: float
    kind: str
    lasts: float = 0.0

    @property
    def weather(self) -> tuple[str, str | float | bool] | None:
        """What it changes for as long as it lasts: a field of the weather, and its value."""
        return _WEATHER.get(self.kind)


_LASTING: Final[dict[str, Callable[[Random], float]]] = {
    "store refuses": lambda dice: dice.choice((dice.uniform(0.1, 2), dice.uniform(5, 30))),
    "store is silent": lambda dice: dice.choice((dice.uniform(0.1, 2), dice.uniform(5, 20))),
    "store loses calls": lambda dice: dice.uniform(1, 20),
    "store loses some calls": lambda dice: dice.uniform(1, 20),
    "store loses answers": lambda dice: dice.uniform(1, 20),
    "disk is full": lambda dice: dice.uniform(0.1, 8),
    "disk is broken": lambda dice: dice.uniform(0.05, 4),
    "broker is away": lambda dice: dice.uniform(0.1, 10),
    "broker confirms late": lambda dice: dice.uniform(1, 20),
    "broker confirms twice": lambda dice: dice.uniform(1, 20),
    "gateway is killed": lambda dice: dice.choice((0.0, dice.uniform(0, 5))),
}
_WEATHER: Final[dict[str, tuple[str, str | float | bool]]] = {
    "store refuses": ("store", "refusing"),
    "store is silent": ("store", "silent"),
    "store loses calls": ("store_loss", 0.7),
    "store loses some calls": ("store_loss", 0.2),
    "store loses answers": ("write_loss", 0.6),
    "disk is full": ("disk", "full"),
    "disk is broken": ("disk", "broken"),
    "broker is away": ("broker_up", False),
    "broker confirms late": ("broker_delay", 5.0),
    "broker confirms twice": ("broker_repeats", 0.5),
}
_MOMENTS: Final = ("link is cut", "session is lost", "disk stalls", "somebody else appends", "cache file is damaged")
_REMOTE_ONLY: Final = LOSING | {"store refuses", "somebody else appends"}


def drawn(dice: Random, limits: Limits) -> list[Trouble]:
    """The troubles of a run, in order."""
    kinds = [kind for kind in (*_LASTING, *_MOMENTS) if not (limits.embedded and kind in _REMOTE_ONLY)]
    chosen = dice.sample(kinds, dice.randint(0, 4))
    # on their own they tell little: what matters is what they come on top of
    if dice.random() < 0.5:
        chosen.append("gateway is killed")
    if dice.random() < 0.2:
        chosen.append("session is lost")
    if not limits.embedded and dice.random() < 0.35:
        chosen.append("store loses answers")
    troubles = [
        Trouble(_begin(kind, dice), kind, _LASTING.get(kind, _at_once)(dice))
        for kind in chosen
        for _ in range(dice.randint(1, 12 if kind == "somebody else appends" else 3))
    ]
    return sorted((_on_top_of(troubles, trouble, dice) for trouble in troubles), key=lambda trouble: trouble.at)


def _begin(kind: str, dice: Random) -> float:
    latest = CALM_AFTER * dice.choice((0.1, 0.3, 0.7))
    # for so long after its start a gateway is careful anyway: what was appended before it may still land
    earliest = LATEST if kind == "store loses answers" and dice.random() < 0.7 else 0.1
    return dice.uniform(earliest, max(latest, earliest + 5.0))


def _on_top_of(troubles: list[Trouble], trouble: Trouble, dice: Random) -> Trouble:
    """What is over in a moment often comes while something else goes wrong: much is under way then."""
    others = [other for other in troubles if other.lasts]
    if trouble.lasts or not others or dice.random() < 0.5:
        return trouble
    other = dice.choice(others)
    return replace(trouble, at=other.at + dice.uniform(0, min(other.lasts, 2.0)))


def _at_once(_dice: Random) -> float:
    return 0.0
