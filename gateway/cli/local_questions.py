"""Queries about the state directory, for whoever may read it: everything is told."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

import orjson
from pydantic import ValidationError

from gateway.adapters.tinydb_cache import ReadCache
from gateway.cli.asking import Answer
from gateway.cli.read_side import ReadSide
from gateway.codec import EventCodec
from gateway.domain.outages import GATEWAY
from gateway.errors import Invalid
from gateway.intake import invalid
from gateway.queries.answers import Result
from gateway.queries.documents import DocumentQueries
from gateway.queries.history import HistoryQueries
from gateway.queries.outcomes import OutcomeQueries, Scope
from gateway.queries.parameters import QUERIES, Alarms, Get, List, Outages, OutcomeOf, Trace
from gateway.queries.trace import TraceQueries


class LocalQuestions:
    """Asks the log and the read cache as they stand; see :class:`~gateway.cli.asking.Questions`."""

    def __init__(self, side: ReadSide) -> None:
        self._side = side
        self._cache: ReadCache | None = None
        self._history = HistoryQueries(side.log, side.catalogue, EventCodec(side.catalogue))
        self._traces = TraceQueries(side.log, side.catalogue, side.log)
        self._outcomes = OutcomeQueries(side.log)
        self._finders: Mapping[str, Callable[[Any], Awaitable[Result]]] = {
            "get": self._get,
            "list": self._list,
            "alarms": self._alarms,
            "history": self._history.history,
            "state_at": self._history.state_at,
            "diff": self._history.diff,
            "trace": self._trace,
            "outcome": self._outcome,
            "outages": self._outages,
        }

    async def ask(self, query: str, parameters: Mapping[str, object]) -> Answer:
        """The answer to a query; of the read cache as it stood when it was first asked."""
        try:
            wanted = QUERIES[query].model_validate_json(orjson.dumps(parameters))
        except ValidationError as error:
            raise invalid(Invalid, error, query, "") from None
        found = await self._finders[query](wanted)
        return Answer(orjson.loads(orjson.dumps(found.value, option=orjson.OPT_UTC_Z)), found.next)

    async def _get(self, query: Get) -> Result:
        return (await self._documents()).get(query)

    async def _list(self, query: List) -> Result:
        return await (await self._documents()).list(query, _everything)

    async def _alarms(self, query: Alarms) -> Result:
        return await (await self._documents()).alarms(query, _everything)

    async def _trace(self, query: Trace) -> Result:
        return await self._traces.trace(query, _everything)

    async def _outcome(self, query: OutcomeOf) -> Result:
        return await self._outcomes.outcome(query, Scope(query.command_id, _everything, query.actor, query.device))

    async def _outages(self, _query: Outages) -> Result:
        # what is not in the log yet; the rest is in the history of the gateway
        pending = [asdict(outage) for outage in self._side.own.pending_outages()]
        return Result({"gateway": self._side.gateway, "pending": pending})

    async def _documents(self) -> DocumentQueries:
        if self._cache is None:
            self._cache = await self._side.current_cache()
        return DocumentQueries(self._cache, self._side.catalogue, GATEWAY.collection)


def _everything(_device: str) -> bool:
    return True
