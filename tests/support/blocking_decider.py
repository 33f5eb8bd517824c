"""An aggregate with a fault: deciding its command holds up the event loop, until the process ends."""

import threading
from dataclasses import dataclass
from typing import ClassVar, Final

from gateway.domain.decider import Command, Context, Decider, Event, Role


class Blocked(Event):
    """Never happens."""


class Block(Command):
    """Hold up everything."""

    name = "block"
    issuers: ClassVar = frozenset({Role.OPERATOR})
    causes: ClassVar = (Blocked,)


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


def _decide(_command: Command, _state: Nothing, _context: Context) -> tuple[Event, ...]:
    threading.Event().wait()
    return ()


BLOCKING: Final = Decider(
    category="blocking",
    collection="blocking",
    commands=(Block,),
    events=(Blocked,),
    initial=Nothing(),
    decide=_decide,
    evolve=lambda state, _event: state,
    state_type=Nothing,
    is_retired=lambda _state: False,
    desired=lambda _state: None,
    facets=lambda _state: {},
    rows={},
)
