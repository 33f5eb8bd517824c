"""Queries that the read cache answers. Long walks are made in slices, so that commands get through."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import nlargest, nsmallest
from typing import Any, Final

import orjson

from gateway.custom_projection import PROJECTIONS, failure_of, table_of
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Document
from gateway.errors import Invalid, NotFound
from gateway.ports import ReadModel
from gateway.projection import COUNTS
from gateway.queries.answers import Result, fitting
from gateway.queries.filters import compile_filter, look_up, sort_key
from gateway.queries.parameters import Alarms, Get, List
from gateway.queries.turns import Turns

SLICE: Final = 200
"""Documents beyond a page that are kept before they are sorted out."""

Allowed = Callable[[str], bool]
"""Whether whoever asks may know of this device."""

Key = tuple[int, Any, str]


@dataclass(frozen=True, slots=True)
class DocumentQueries:
    """Asks the read cache.

    Attributes:
        own: the collection of the gateway itself, which is no device.
    """

    cache: ReadModel
    catalogue: Catalogue
    own: str
    turns: Turns = field(default_factory=Turns)

    def get(self, query: Get) -> Result:
        """The document of one device.

        Raises:
            NotFound: there is none.
        """
        decided = [decider.collection for decider in self.catalogue]
        for table in decided if query.projection is None else [self._table_of(query.projection)]:
            document = self.cache.get(table, query.device)
            if document is not None:
                return Result(document)
        if query.projection is None:
            raise NotFound(f"there is no device {query.device}")
        raise NotFound(f"{query.projection} has no document of {query.device}", type="no-document")

    async def list(self, query: List, allowed: Allowed) -> Result:
        """The documents of the devices that match, sorted.

        Raises:
            Invalid: filter or cursor cannot be used.
            NotFound: there is no such projection.
        """
        if query.projection is not None:
            return await self._page([self._table_of(query.projection)], query, allowed, _id_of)
        collections = [decider.collection for decider in self.catalogue if decider.collection != self.own]
        return await self._page(collections, query, allowed, _id_of)

    async def alarms(self, query: Alarms, allowed: Allowed) -> Result:
        """The active alarms that match, by device and code.

        Raises:
            Invalid: filter or cursor cannot be used.
        """
        conditions = query.filter if query.device is None else {**query.filter, "device": query.device}
        wanted = List(filter=conditions, limit=query.limit, cursor=query.cursor)
        return await self._page(["alarms"], wanted, allowed, lambda row: str(row["device"]))

    def summary(self) -> Result:
        """How many devices there are, by each of their facets."""
        counted: dict[str, dict[str, dict[str, Any]]] = {}
        for row in self.cache.documents(COUNTS):
            facets = counted.setdefault(str(row["collection"]), {})
            facets.setdefault(str(row["facet"]), {})[str(row["value"])] = row["count"]
        return Result(counted)

    def _table_of(self, projection: str) -> str:
        if self.cache.get(PROJECTIONS, projection) is None:
            raise NotFound(f"there is no projection {projection}", type="unknown-projection", field="projection")
        if (failure := failure_of(self.cache, projection)) is not None:
            reason = f"{projection} has failed at position {failure['position']}: {failure['error']}"
            raise NotFound(reason, type="projection-failed", field="projection")
        return table_of(projection)

    async def _page(
        self, tables: Iterable[str], query: List, allowed: Allowed, device_of: Callable[[Document], str]
    ) -> Result:
        matches = compile_filter(query.filter)
        path = query.sort.removeprefix("-")
        descending, after = path != query.sort, _read_cursor(query.cursor)
        found: list[tuple[Key, Document]] = []
        # all of one moment
        rows = [row for table in tables for row in self.cache.rows(table)]
        async with self.turns.turn() as turn:
            for row in rows:
                document = orjson.loads(row)
                key = sort_key(document, path)
                beyond = after is None or (key < after if descending else key > after)
                if beyond and allowed(device_of(document)) and matches(document):
                    found.append((key, document))
                    if len(found) > 2 * query.limit + SLICE:
                        found = _first(found, query.limit + 1, descending=descending)
                await turn.pause()
            page = _first(found, query.limit + 1, descending=descending)
            shown = ((_selected(document, query.fields), _write_cursor(key)) for key, document in page)
            items, place = await fitting(turn, shown, query.limit)
        return Result(items, {"cursor": place} if place is not None else None)


def _id_of(document: Document) -> str:
    return str(document["id"])


def _first(found: "list[tuple[Key, Document]]", count: int, *, descending: bool) -> "list[tuple[Key, Document]]":
    pick = nlargest if descending else nsmallest
    return pick(count, found, key=lambda one: one[0])


def _selected(document: Document, fields: "list[str] | None") -> Mapping[str, Any]:
    if fields is None:
        return document
    marker = look_up({}, "")
    values = {path: look_up(document, path) for path in fields}
    return {"id": document["id"]} | {path: value for path, value in values.items() if value is not marker}


def _write_cursor(key: Key) -> str:
    return urlsafe_b64encode(orjson.dumps(key)).decode()


def _read_cursor(cursor: str | None) -> Key | None:
    if cursor is None:
        return None
    try:
        rank, value, id_ = orjson.loads(urlsafe_b64decode(cursor))
    except (ValueError, TypeError):
        raise Invalid("this is no cursor of an earlier answer", field="cursor") from None
    fits = {0: value == 0, 1: isinstance(value, bool), 2: isinstance(value, int | float), 3: isinstance(value, str)}
    if not (isinstance(id_, str) and isinstance(rank, int) and (rank == 4 or fits.get(rank, False))):  # noqa: PLR2004 - of anything else
        raise Invalid("this is no cursor of an earlier answer", field="cursor")
    return rank, value if rank != 4 else 0, id_  # noqa: PLR2004 - see above
