"""Outcomes in memory: what was accepted is found in the store, as in the real ones."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from gateway.codec import outcome_of, read_metadata
from gateway.messages import Outcome, Verdict
from gateway.ports import EventStore


class MemoryOutcomes:
    def __init__(self, store: EventStore) -> None:
        self._store = store
        self.remembered: dict[UUID, Outcome] = {}

    async def find(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:  # noqa: ARG002 - all is read
        found = {key: self.remembered[key] for key in keys if key in self.remembered}
        recorded = await self._store.read_all(after=0, limit=1_000_000)
        for first in recorded:
            if first.id in keys:
                command_id = read_metadata(first)["command_id"]
                same = [event for event in recorded if event.stream == first.stream]
                found[first.id] = outcome_of(
                    [event for event in same if read_metadata(event).get("command_id") == command_id]
                )
        return found

    async def remember(self, verdicts: Sequence[Verdict]) -> None:
        for verdict in verdicts:
            self.remembered[verdict.key] = verdict.outcome

    async def prune(self, before: datetime) -> int:
        old = [key for key, outcome in self.remembered.items() if outcome.received_at < before]
        for key in old:
            del self.remembered[key]
        return len(old)
