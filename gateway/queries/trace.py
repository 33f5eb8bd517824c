"""The query that tells what caused what: which command, whose events, in which course of things they belong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.acks import verdict_body
from gateway.codec import read_metadata, verdict_of
from gateway.command_events import events_at
from gateway.domain.catalogue import Catalogue, stream_of
from gateway.ids import event_id
from gateway.messages import RecordedEvent, Verdict
from gateway.ports import LogReader, OutcomeSearch
from gateway.queries.answers import Result, fitting
from gateway.queries.documents import Allowed
from gateway.queries.history import MOST_SCANNED, PAGE, told
from gateway.queries.parameters import Trace
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

    async def trace(self, query: Trace, allowed: Allowed) -> Result:
        """The commands that an id leads to, each with the events that it caused.

        Raises:
            StoreUnavailable: the store is away.
        """

        def wanted(actor: str, device: str) -> bool:
            return allowed(device) and query.actor in {None, actor} and query.device in {None, device}

        if query.correlation_id is not None:
            return await self._correlated(query, query.correlation_id, wanted)
        verdicts = [verdict for verdict in await self._verdicts(query) if wanted(verdict.actor, verdict.device)]
        steps = [_step(verdict, await self._events_of(verdict)) for verdict in verdicts]
        async with self.turns.turn() as turn:
            commands, behind = await fitting(turn, ((step, True) for step in steps), query.limit)
        return Result({"commands": commands, "complete": behind is None})

    async def _verdicts(self, query: Trace) -> Sequence[Verdict]:
        id_ = query.event_id
        if query.command_id is not None:
            if query.actor is None or query.device is None:
                return await self.outcomes.find_by_command_id(query.command_id)
            # the whole of a command's scope is its key
            id_ = event_id(query.actor, query.device, query.command_id, 0)
        verdict = await self.outcomes.find_by_event_id(id_) if id_ is not None else None
        return [verdict] if verdict is not None else []

    async def _correlated(self, query: Trace, correlation_id: str, wanted: Wanted) -> Result:
        """No index leads from a correlation id to its events: so many are looked at, from a position on."""
        after = query.after if query.after is not None else await self._begin(correlation_id, wanted)
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

    async def _begin(self, correlation_id: str, wanted: Wanted) -> int:
        """Where to look first: at the command that the others name as where they come from, if there is one."""
        places = [
            event.position - 1
            for verdict in await self.outcomes.find_by_command_id(correlation_id)
            if wanted(verdict.actor, verdict.device)
            for event in (await self._events_of(verdict))[:1]
        ]
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
