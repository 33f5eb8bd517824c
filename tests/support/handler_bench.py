"""A handler on stores in memory, and what it is asked."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from gateway.access import Access, OperatorRule
from gateway.aggregates import Aggregates
from gateway.codec import EventCodec
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.errors import StoreUnavailable, WrongExpectedRevision
from gateway.handler import Handler
from gateway.intake import Intake
from gateway.messages import Answer, Appended, NewEvent, Request
from gateway.topics import Topics
from tests.support.delivery import ROOT, command
from tests.support.fixed_clock import FixedClock
from tests.support.memory_outcomes import MemoryOutcomes
from tests.support.memory_store import MemorySnapshots, MemoryStore

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CATALOGUE = Catalogue(DECIDERS)
CODEC = EventCodec(CATALOGUE)
INTAKE = Intake(Topics(ROOT), CATALOGUE, Access([OperatorRule(("alice",))]), max_payload=65_536)


class Bench:
    """A handler on stores in memory."""

    def __init__(self, store: MemoryStore | None = None, *, append_tells: bool = False) -> None:
        """A store whose appends tell that a command is known, or one where all are looked up before."""
        self.append_tells = append_tells
        self.store = store or MemoryStore()
        self.snapshots = MemorySnapshots()
        self.outcomes = MemoryOutcomes(self.store)
        self.clock = FixedClock(NOW)
        self.restart()

    def restart(self, late: float = 0.0) -> None:
        """Forget all that is not in a store; for so many seconds an append from before may land."""
        aggregates = Aggregates(self.store, self.snapshots, CODEC, capacity=10, snapshot_every=5)
        encode = partial(CODEC.encode, gateway="gw1")
        late_until = self.clock.monotonic() + late
        append_new = self._append_new if self.append_tells else None
        self.handler = Handler(
            self.store, self.outcomes, aggregates, encode, self.clock, append_new, late_until=late_until
        )

    async def _append_new(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        known = {event.id for event in self.store.events} | self.outcomes.remembered.keys()
        if any(event.id in known for event in events):
            there = [event for event in self.store.events if event.stream == stream]
            raise WrongExpectedRevision(stream, expected, len(there) - 1)
        return await self.store.append(stream, expected, events)

    async def die_appending(self, requests: Sequence[Request]) -> None:
        """Be killed before these commands' events are appended, but after everything that comes before that."""

        class Killed(MemoryStore):
            async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
                raise StoreUnavailable(f"killed before {len(events)} events of {stream} behind {expected}")

        store, self.store = self.store, Killed()
        self.store.events = store.events
        self.restart()
        with pytest.raises(StoreUnavailable):
            await self.handler.handle(requests)
        self.store = store
        self.restart()

    def request(self, name: str, command_id: str | None = None, *, actor: str = "p", **data: Any) -> Request:
        envelope = data.pop("envelope", {})
        body = {"data": data, **envelope} | ({"command_id": command_id} if command_id else {})
        body.setdefault("dry_run", False)
        return INTAKE.read_command(command(actor, "p", name, body), self.clock.now())

    async def send(self, name: str, command_id: str | None = None, **data: Any) -> Answer:
        [answer] = await self.handler.handle([self.request(name, command_id, **data)])
        return answer

    async def types(self) -> list[str]:
        return [event.type for event in await self.store.read_all(after=0)]


def codes(answers: Sequence[Answer]) -> list[int]:
    return [answer.outcome.code for answer in answers]


class LosesTheRequest(MemoryStore):
    """Of the first append nobody knows whether it will take effect."""

    lost: tuple[str, int, Sequence[NewEvent]] | None = None

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent]) -> Appended:
        if self.lost is None:
            self.lost = stream, expected, events
            raise StoreUnavailable("no answer")
        return await super().append(stream, expected, events)
