"""An aggregate that is no device: what serves it must not know what it is."""

from dataclasses import dataclass
from typing import ClassVar, Final, cast

from gateway.domain.decider import Command, Context, Decider, Event, Role


class Counted(Event):
    """It counts more than before."""

    by: int = 1


class Count(Command):
    """Count on."""

    name = "count"
    issuers: ClassVar = frozenset({Role.OPERATOR})
    causes: ClassVar = (Counted,)

    by: int = 1


@dataclass(frozen=True, slots=True)
class Counter:
    total: int = 0


def _decide(command: Command, _state: Counter, context: Context) -> tuple[Event, ...]:
    return (Counted(at=context.at, by=cast("Count", command).by),)


def _evolve(state: Counter, event: Event) -> Counter:
    return Counter(state.total + cast("Counted", event).by)


COUNTER: Final = Decider(
    category="counter",
    collection="counters",
    commands=(Count,),
    events=(Counted,),
    initial=Counter(),
    decide=_decide,
    evolve=_evolve,
    state_type=Counter,
    is_retired=lambda _state: False,
    desired=lambda _state: None,
    facets=lambda state: {"parity": "odd" if state.total % 2 else "even"} if state.total else {},
    rows={"digits": lambda state: {digit: {"digit": digit} for digit in str(state.total)}},
)
