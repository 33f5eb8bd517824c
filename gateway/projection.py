"""Events are folded into the documents of the read cache. No I/O: one fold for the daemon, for rebuild and verify."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from gateway.codec import EventCodec, StateCodec
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Decider, Document
from gateway.messages import NO_STREAM, RecordedEvent
from gateway.ports import ReadModel

COUNTS: Final = "counts"
"""The table that counts each collection by its facets."""


@dataclass(slots=True)
class _Fold:
    """A device on its way through a batch of events."""

    state: Any
    revision: int = NO_STREAM
    position: int = 0
    updated_at: str = ""
    degraded: bool = False


Touched = Iterable[tuple[Decider[Any], str]]
"""Devices whose documents have changed."""


class Projection:
    """Keeps a read model in step with the log.

    Attributes:
        capacity: how many states are kept in memory; the others are read back from their documents.
    """

    def __init__(self, cache: ReadModel, catalogue: Catalogue, codec: EventCodec, *, capacity: int = 10_000) -> None:
        self.cache = cache
        self.capacity = capacity
        self._catalogue = catalogue
        self._codec = codec
        self._states: OrderedDict[str, Any] = OrderedDict()

    def apply(self, events: Sequence[RecordedEvent]) -> Touched:
        """Fold events that follow the cache's position; each document is written once, however many concern it."""
        folds: dict[str, tuple[Decider[Any], str, Any, _Fold]] = {}
        for recorded in events:
            known = folds.get(recorded.stream)
            if known is None:
                located = self._catalogue.locate(recorded.stream)
                if located is None:
                    continue
                decider, device = located
                fold = self._restore(recorded.stream, decider, device)
                folds[recorded.stream] = known = (decider, device, fold.state, fold)
            self._evolve(known[0], known[3], recorded)
        for stream, (decider, device, before, fold) in folds.items():
            self._write(decider, device, before, fold)
            self._remember(stream, fold.state)
        if events:
            self.cache.advance(events[-1].position)
        return [(decider, device) for decider, device, _, _ in folds.values()]

    def is_readable(self) -> bool:
        """Whether every document can be read back as a state: somebody or something may have been at the file."""
        try:
            for decider in self._catalogue:
                for document in self.cache.documents(decider.collection):
                    self._read(decider, document)
        except (ValidationError, KeyError):
            return False
        return True

    def clear(self) -> None:
        """Start again with nothing."""
        self._states.clear()
        self.cache.clear()

    def _evolve(self, decider: Decider[Any], fold: _Fold, recorded: RecordedEvent) -> None:
        fold.state, problem = self._codec.apply(decider, fold.state, recorded)
        fold.degraded = fold.degraded or problem is not None
        fold.revision, fold.position, fold.updated_at = (
            recorded.revision,
            recorded.position,
            recorded.recorded_at.isoformat().replace("+00:00", "Z"),
        )

    def _restore(self, stream: str, decider: Decider[Any], device: str) -> _Fold:
        document = self.cache.get(decider.collection, device)
        if document is None:
            return _Fold(decider.initial)
        state = self._states.get(stream)
        if state is None:
            return self._read(decider, document)
        return _Fold(state, degraded=bool(document["degraded"]))

    @staticmethod
    def _read(decider: Decider[Any], document: Document) -> _Fold:
        return _Fold(StateCodec.of(decider).from_document(document), degraded=bool(document["degraded"]))

    def _remember(self, stream: str, state: object) -> None:
        self._states[stream] = state
        self._states.move_to_end(stream)
        if len(self._states) > self.capacity:
            self._states.popitem(last=False)

    def _write(self, decider: Decider[Any], device: str, before: object, fold: _Fold) -> None:
        document: Document = {
            "id": device,
            **StateCodec.of(decider).to_document(fold.state),
            "revision": fold.revision,
            "position": fold.position,
            "updated_at": fold.updated_at,
            "degraded": fold.degraded,
        }
        self.cache.put(decider.collection, device, document)
        for table, rows_of in decider.rows.items():
            rows = rows_of(fold.state)
            for key in rows_of(before).keys() - rows.keys():
                self.cache.remove(table, f"{device}/{key}")
            for key, row in rows.items():
                self.cache.put(table, f"{device}/{key}", {"id": f"{device}/{key}", "device": device, **row})
        self._count(decider.collection, decider.facets(before).items(), decider.facets(fold.state).items())

    def _count(self, collection: str, before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]]) -> None:
        was, now = set(before), set(after)
        for facet, value in was ^ now:
            key = f"{collection}/{facet}/{value}"
            row = self.cache.get(COUNTS, key)
            found = row["count"] if row is not None else 0
            count = (found if isinstance(found, int) else 0) + (1 if (facet, value) in now else -1)
            if count:
                counted: Document = {
                    "id": key,
                    "collection": collection,
                    "facet": facet,
                    "value": value,
                    "count": count,
                }
                self.cache.put(COUNTS, key, counted)
            else:
                self.cache.remove(COUNTS, key)
