"""The query that tells what caused what: which command, whose events, in which course of things they belong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from gateway.acks import verdict_body
from gateway.codec import read_metadata, verdict_of
from gateway.command_events import events_at
from gateway.domain.catalogue import Catalogue, stream_of
from gateway.messages import RecordedEvent, Verdict
from gateway.ports import LogReader, OutcomeSearch
from gateway.queries.answers import Result, fitting
from gateway.queries.documents import Allowed
from gateway.queries.history import MOST_SCANNED, PAGE, told
from gateway.queries.outcomes import Scope, verdicts
from gateway.queries.parameters import MAX_PAGE, Trace
from gateway.queries.turns import Turns

Wanted = Callable[[str, str], bool]
"""Whether a command of this actor for this device is asked for, and may be told."""


@dataclass(frozen=True, slots=True)
class TraceQueries:
    """Asks the log, and the memory of outcomes."""

    store: LogReader
    catalogue: Catalogue
    outcomes: OutcomeSearch
    turns: Turns = field(default_factory=Turns)

    async def trace(self, query: Trace, allowed: Allowed, asker: str | None = None) -> Result:
        """The commands that an id leads to, each with the events that it caused.

        Args:
            query: what is asked.
            allowed: whether whoever asks may know of a device.
            asker: who asks, where he has a name.

        Raises:
            StoreUnavailable: the store is away.
        """

        def wanted(actor: str, device: str) -> bool:
            return allowed(device) and query.actor in {None, actor} and query.device in {None, device}

        if query.correlation_id is not None:
            return await self._correlated(query, query.correlation_id, wanted, allowed)
        place: UUID | None = None
        if query.command_id is not None:
            scope = Scope(query.command_id, allowed, query.actor, query.device, asker)
            found, place = await verdicts(self.outcomes, scope, query.cursor, query.limit)
        else:
            verdict = await self.outcomes.find_by_event_id(query.event_id) if query.event_id is not None else None
            found = [(verdict, verdict.key)] if verdict and wanted(verdict.actor, verdict.device) else []
        some = found[: query.limit + 1]
        steps = [(_step(verdict, await self._events_of(verdict)), str(behind)) for verdict, behind in some]
        async with self.turns.turn() as turn:
            commands, behind = await fitting(turn, steps, query.limit)
        cursor = behind if behind is not None or place is None else str(place)
        result = {"commands": commands, "complete": cursor is None}
        return Result(result, {"cursor": cursor} if cursor is not None else None)

    async def _correlated(self, query: Trace, correlation_id: str, wanted: Wanted, allowed: Allowed) -> Result:
        """No index leads from a correlation id to its events: so many are looked at, from a position on."""
        scope = Scope(correlation_id, allowed, query.actor, query.device)
        after = query.after if query.after is not None else await self._begin(scope)
        found: list[tuple[dict[str, Any], int]] = []
        scanned, place = 0, after
        while len(found) <= query.limit and scanned < MOST_SCANNED:
            page = await self.store.read_all(after=place, limit=PAGE)
            if not page:
                break
            scanned, place = scanned + len(page), page[-1].position
            for event in await self._of_course(page, correlation_id, wanted):
                events = await events_at(self.store, event.stream, event.revision)
                verdict = verdict_of(events)
                if verdict is not None:
                    found.append((_step(verdict, events), event.position))
        async with self.turns.turn() as turn:
            commands, behind = await fitting(turn, found, query.limit)
        if behind is None and scanned >= MOST_SCANNED:
            behind = place
        result = {
            "commands": commands,
            "complete": behind is None,
            "searched": {"after": after, "to": behind if behind is not None else place},
        }
        return Result(result, {"after": behind} if behind is not None else None)

    async def _of_course(
        self, page: Sequence[RecordedEvent], correlation_id: str, wanted: Wanted
    ) -> Sequence[RecordedEvent]:
        found = []
        async with self.turns.turn() as turn:
            for event in page:
                if read_metadata(event).get("$correlationId") == correlation_id and self._is_wanted(event, wanted):
                    found.append(event)
                await turn.pause()
        return found

    async def _begin(self, scope: Scope) -> int:
        """Where to look first: at the command that the others name as where they come from, if there is one."""
        found, place = await verdicts(self.outcomes, scope, None, MAX_PAGE)
        if place is not None:
            # an id that so many use says nothing of where the first of them is
            return 0
        places = [event.position - 1 for one, _ in found for event in (await self._events_of(one))[:1]]
        return min(places, default=0)

    def _is_wanted(self, event: RecordedEvent, wanted: Wanted) -> bool:
        located = self.catalogue.locate(event.stream)
        return located is not None and wanted(str(read_metadata(event).get("actor")), located[1])

    async def _events_of(self, verdict: Verdict) -> Sequence[RecordedEvent]:
        """The events of a command that was accepted, as they stand in the log."""
        ids = [event.id for event in verdict.outcome.events]
        if not ids:
            return []
        for decider in self.catalogue:
            stream = stream_of(decider, verdict.device)
            after = verdict.outcome.events[0].revision - 1
            events = await self.store.read_stream(stream, after=after, limit=len(ids))
            if [event.id for event in events] == ids:
                return events
        return []


def _step(verdict: Verdict, events: Sequence[RecordedEvent]) -> dict[str, Any]:
    """A command in the words of its acknowledgement, with its course and its events in full."""
    metadata = read_metadata(events[0]) if events else {}
    return {
        **verdict_body(verdict),
        "correlation_id": metadata.get("$correlationId"),
        "traceparent": metadata.get("traceparent"),
        "events": [{**told(event), "causation_id": read_metadata(event).get("$causationId")} for event in events],
    }
