"""What became of a command id, which many senders may have used: by key where its scope is known, else by a search.

A command's key is made of its actor, its device and its id. Whoever knows all three is told at once; for everybody
else so many of those who used the id are looked at, and only what is wanted counts towards a page.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from gateway.acks import verdict_body
from gateway.command_events import holds
from gateway.ids import event_id
from gateway.messages import Verdict
from gateway.ports import OutcomeSearch
from gateway.queries.answers import Result, fitting
from gateway.queries.documents import Allowed
from gateway.queries.parameters import OutcomeOf
from gateway.queries.turns import Turns

PAGE: Final = 50
"""Of those who used an id, looked at in one go: what a command wants to know of the same disk must not wait long."""

MOST_PAGES: Final = 100
"""That one answer looks at, however few of them are wanted."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which of the commands with an id are wanted.

    Attributes:
        allowed: whether whoever asks may know of a device.
        actor, device: of the command; ``None`` for any.
        asker: who asks: his own commands are looked for first.
    """

    command_id: str
    allowed: Allowed
    actor: str | None = None
    device: str | None = None
    asker: str | None = None

    @property
    def is_exact(self) -> bool:
        """Whether there can be only one."""
        return self.actor is not None and self.device is not None

    def of(self, device: str) -> bool:
        """Whether it concerns this device."""
        return self.device in {None, device} and self.allowed(device)

    def wants(self, verdict: Verdict) -> bool:
        """Whether it is one of them."""
        return self.actor in {None, verdict.actor} and self.of(verdict.device)

    def keys(self) -> Sequence[UUID]:
        """Of those that can be found without a search: what a device, or whoever asks, has sent to the device."""
        if self.device is None:
            return ()
        actors = (self.actor,) if self.actor is not None else (self.device, self.asker)
        known = (event_id(actor, self.device, self.command_id, 0) for actor in actors if actor is not None)
        return tuple(dict.fromkeys(known))


Found = list[tuple[Verdict, UUID]]
"""Verdicts, each with the place to go on behind it."""


async def verdicts(outcomes: OutcomeSearch, scope: Scope, after: UUID | None, limit: int) -> tuple[Found, UUID | None]:
    """Those that are wanted, but for those whose premise is not in the log.

    Args:
        outcomes: the memory.
        scope: which are wanted.
        after: the place to go on behind; ``None`` to begin.
        limit: so many, and some more, are enough.

    Returns:
        The verdicts, and the place behind the last one that was looked at; ``None`` if that was all.

    Raises:
        StoreUnavailable: the store is away.
    """
    keys = scope.keys()
    found: Found = []
    # the places of what is found by key are numbers, and no id of an event is as low as that
    for number, key in enumerate(keys, 1):
        verdict = await outcomes.find_by_event_id(key) if after is None or after.int < number else None
        if verdict is not None and verdict.key == key and scope.wants(verdict) and await holds(verdict, outcomes):
            found.append((verdict, UUID(int=number)))
    place = after if after is not None and after.int > len(keys) else None
    for _ in range(0 if scope.is_exact else MOST_PAGES):
        page, place = await outcomes.find_by_command_id(scope.command_id, of=scope.of, after=place, limit=PAGE)
        for verdict in page:
            if verdict.key not in keys and scope.wants(verdict) and await holds(verdict, outcomes):
                found.append((verdict, verdict.key))
        if place is None or len(found) > limit:
            break
    return found, place


@dataclass(frozen=True, slots=True)
class OutcomeQueries:
    """Asks the memory of outcomes."""

    outcomes: OutcomeSearch
    turns: Turns = field(default_factory=Turns)

    async def outcome(self, query: OutcomeOf, scope: Scope) -> Result:
        """The verdicts on the commands with an id, each in the words of its acknowledgement; a page oldest first.

        Raises:
            StoreUnavailable: the store is away.
        """
        found, place = await verdicts(self.outcomes, scope, query.cursor, query.limit)
        async with self.turns.turn() as turn:
            told = ((verdict_body(verdict), str(behind)) for verdict, behind in found)
            bodies, behind = await fitting(turn, told, query.limit)
        order = sorted(range(len(bodies)), key=lambda index: found[index][0].outcome.received_at)
        cursor = behind if behind is not None or place is None else str(place)
        return Result([bodies[index] for index in order], {"cursor": cursor} if cursor is not None else None)
