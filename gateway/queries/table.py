"""Every query by its name: what it takes, who may ask it, and who answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.queries.answers import Result
from gateway.queries.desk import Asker, Find, Table
from gateway.queries.documents import DocumentQueries
from gateway.queries.feed import FeedQueries
from gateway.queries.history import HistoryQueries
from gateway.queries.outcomes import OutcomeQueries, Scope
from gateway.queries.parameters import (
    QUERIES,
    Alarms,
    Diff,
    Get,
    History,
    Outages,
    OutcomeOf,
    StateAt,
    Summary,
    Trace,
)
from gateway.queries.trace import TraceQueries


@dataclass(frozen=True, slots=True)
class Queries:
    """All queries, with what they are answered from.

    Attributes:
        gateway: its own name.
        outages: what the gateway went through and is not in its document yet.
        info: what can be sent to it.
    """

    documents: DocumentQueries
    history: HistoryQueries
    traces: TraceQueries
    feeds: FeedQueries
    outcomes: OutcomeQueries
    gateway: str
    outages: Callable[[], dict[str, Any]]
    info: dict[str, Any]

    def table(self) -> Table:
        """Every query by its name."""
        finders: Mapping[str, Find] = {
            "get": self._get,
            "list": lambda query, asker: self.documents.list(query, asker.may_see),
            "alarms": self._alarms,
            "summary": self._summary,
            "history": self._history,
            "state_at": self._state_at,
            "diff": self._diff,
            "feed": lambda query, asker: self.feeds.feed(query, asker.may_see),
            "outcome": self._outcome,
            "trace": self._trace,
            "outages": self._outages,
            "commands": lambda _query, _asker: Result(self.info["commands"]),
        }
        return {name: (parameters, finders[name]) for name, parameters in QUERIES.items()}

    def _get(self, query: Get, asker: Asker) -> Result:
        asker.check(query.device)
        return self.documents.get(query)

    async def _alarms(self, query: Alarms, asker: Asker) -> Result:
        if query.device is not None:
            asker.check(query.device)
        return await self.documents.alarms(query, asker.may_see)

    async def _summary(self, _query: Summary, asker: Asker) -> Result:
        # it counts every device, so who may not see every device may not see it
        asker.check_all()
        return await self.documents.summary()

    async def _history(self, query: History, asker: Asker) -> Result:
        asker.check(query.device)
        return await self.history.history(query)

    async def _state_at(self, query: StateAt, asker: Asker) -> Result:
        asker.check(query.device)
        return await self.history.state_at(query)

    async def _diff(self, query: Diff, asker: Asker) -> Result:
        asker.check(query.device)
        return await self.history.diff(query)

    async def _outcome(self, query: OutcomeOf, asker: Asker) -> Result:
        device = _about(query.device, asker)
        scope = Scope(query.command_id, asker.may_see, query.actor, device, asker.actor)
        return await self.outcomes.outcome(query, scope)

    async def _trace(self, query: Trace, asker: Asker) -> Result:
        device = _about(query.device, asker)
        return await self.traces.trace(query.model_copy(update={"device": device}), asker.may_see, asker.actor)

    def _outages(self, _query: Outages, asker: Asker) -> Result:
        asker.check(self.gateway)
        return Result(self.outages())


def _about(device: str | None, asker: Asker) -> str | None:
    """The device that is asked about: whoever is no operator can only mean himself.

    Raises:
        NotPermitted: whoever asks may not know of it.
    """
    if device is not None:
        asker.check(device)
        return device
    return None if asker.is_operator else asker.actor
