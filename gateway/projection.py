"""Events are folded into the documents of the read cache. No I/O: one fold for the daemon, for rebuild and verify."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import orjson
from pydantic import ValidationError

from gateway.codec import EventCodec, StateCodec
from gateway.custom_projection import CustomProjection, CustomProjections, Failure
from gateway.domain.catalogue import Catalogue, stream_of
from gateway.domain.decider import Decider, Document
from gateway.messages import Aggregate, Mark, RecordedEvent
from gateway.ports import ReadModel

COUNTS: Final = "counts"
"""The table that counts each collection by its facets."""

_OWN: Final = frozenset({"id", "revision", "position", "updated_at", "degraded"})
"""What a document says beside the state."""


@dataclass(slots=True)
class _Fold:
    """A device on its way through events.

    Attributes:
        before, state: as its document has it, and as it is now.
        events: that are not folded yet.
    """

    decider: Decider[Any]
    device: str
    before: Any
    state: Any
    degraded: bool
    last: RecordedEvent
    events: list[RecordedEvent]


AtHand = Callable[[str, int], Aggregate | None]
"""The aggregate of a stream as of just this revision, where somebody has it."""


def _nothing_at_hand(_stream: str, _revision: int) -> None:
    return None


Touched = Iterable[tuple[Decider[Any], str]]
"""Devices whose documents have changed."""


class Projection:
    """Keeps a read model in step with the log.

    Attributes:
        capacity: how many states are kept in memory; the others are read back from their documents.
    """

    def __init__(  # noqa: PLR0913 - what a fold depends on
        self,
        cache: ReadModel,
        catalogue: Catalogue,
        codec: EventCodec,
        *,
        custom: Sequence[CustomProjection] = (),
        capacity: int = 10_000,
        at_hand: AtHand = _nothing_at_hand,
    ) -> None:
        """Begin where the cache stands; what is at hand need not be folded once more.

        Raises:
            ValueError: a state has a field that the cache writes itself: the state could not be read back.
        """
        for decider in catalogue:
            if taken := _OWN & {field.name for field in fields(decider.state_type)}:
                raise ValueError(f"state fields of {decider.category!r} are the read cache's own: {sorted(taken)}")
        self.cache = cache
        self.capacity = capacity
        self._catalogue = catalogue
        self._at_hand = at_hand
        self._codec = codec
        # of devices that have a document: the state that it was made of, and whether it is degraded
        self._states: OrderedDict[str, tuple[Any, bool]] = OrderedDict()
        self._gathered: dict[str, _Fold] = {}
        self._last: RecordedEvent | None = None
        self._custom = CustomProjections(cache, catalogue, codec, custom)
        if not cache.position:
            self._custom.begin()

    def apply(self, events: Sequence[RecordedEvent]) -> Touched:
        """Fold events that follow the cache's position; each document is written once, however many concern it."""
        self.gather(events)
        return self.settle()

    def gather(self, events: Sequence[RecordedEvent]) -> None:
        """Fold events that follow those before, and put off writing what comes of it.

        The cache has it after :meth:`settle`, and must not be flushed before.
        """
        folds, concerned = self._gathered, {}
        for recorded in events:
            fold = folds.get(recorded.stream)
            if fold is None:
                located = self._catalogue.locate(recorded.stream)
                if located is None:
                    continue
                fold = folds[recorded.stream] = self._begin(*located, recorded)
            fold.last = recorded
            fold.events.append(recorded)
            concerned[recorded.stream] = fold
        for fold in concerned.values():
            self._fold(fold)
        if not self._custom.is_empty:
            self._custom.apply(events)
        if events:
            self._last = events[-1]

    def settle(self) -> Touched:
        """Write the documents of all that was gathered."""
        folds, self._gathered = self._gathered, {}
        for stream, fold in folds.items():
            self._write(fold)
            self._remember(stream, fold.state, degraded=fold.degraded)
        if self._last is not None:
            self.cache.advance(self._last.position, Mark.of(self._last))
            self._last = None
        return [(fold.decider, fold.device) for fold in folds.values()]

    def state(self, decider: Decider[Any], device: str) -> Any:  # noqa: ANN401 - the decider's own state type
        """The state that a device's document in the cache was made of; ``None`` if there is none.

        Raises:
            ValidationError: it cannot be read back.
        """
        found = self._stands(decider, device)
        return None if found is None else found[0]

    def is_readable(self) -> bool:
        """Whether every document can be read back as a state: somebody or something may have been at the file."""
        try:
            for decider in self._catalogue:
                for document in self.cache.documents(decider.collection):
                    self._read(decider, document)
        except (ValidationError, KeyError):
            return False
        return all(isinstance(row.get("count"), int) for row in self.cache.documents(COUNTS))

    def is_as_configured(self) -> bool:
        """Whether the cache has what the settings want in it."""
        return self._custom.is_current()

    def take_failures(self) -> Sequence[Failure]:
        """What projections of one's own have done wrong since the last call."""
        failures, self._custom.failures = self._custom.failures, []
        return failures

    def clear(self, log_id: str | None = None) -> None:
        """Start again with nothing, from now on of this log if one is named."""
        self._states.clear()
        self.cache.clear(log_id)
        self._custom.begin()

    def _begin(self, decider: Decider[Any], device: str, first: RecordedEvent) -> _Fold:
        state, degraded = self._stands(decider, device) or (decider.initial, False)
        return _Fold(decider, device, state, state, degraded, first, [])

    def _stands(self, decider: Decider[Any], device: str) -> tuple[Any, bool] | None:
        """State and whether it is degraded, as the cache has it."""
        known = self._states.get(stream_of(decider, device))
        if known is not None:
            return known
        document = self.cache.get(decider.collection, device)
        return None if document is None else self._read(decider, document)

    def _fold(self, fold: _Fold) -> None:
        known = self._at_hand(fold.last.stream, fold.last.revision)
        if known is not None and known.degraded is None:
            # whoever decided on it has folded the same events
            fold.state = known.state
        else:
            for recorded in fold.events:
                fold.state, problem = self._codec.apply(fold.decider, fold.state, recorded)
                fold.degraded = fold.degraded or problem is not None
        fold.events.clear()

    @staticmethod
    def _read(decider: Decider[Any], document: Document) -> tuple[Any, bool]:
        return StateCodec.of(decider).from_document(document), bool(document["degraded"])

    def _remember(self, stream: str, state: object, *, degraded: bool) -> None:
        self._states[stream] = state, degraded
        self._states.move_to_end(stream)
        if len(self._states) > self.capacity:
            self._states.popitem(last=False)

    def _write(self, fold: _Fold) -> None:
        decider, device = fold.decider, fold.device
        self.cache.put_encoded(decider.collection, device, _document(fold))
        for table, rows_of in decider.rows.items():
            rows = rows_of(fold.state)
            for key in rows_of(fold.before).keys() - rows.keys():
                self.cache.remove(table, f"{device}/{key}")
            for key, row in rows.items():
                self.cache.put(table, f"{device}/{key}", {"id": f"{device}/{key}", "device": device, **row})
        self._count(decider.collection, decider.facets(fold.before), decider.facets(fold.state))

    def _count(self, collection: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        for facet, value in before.items() ^ after.items():
            key = f"{collection}/{facet}/{value}"
            row = self.cache.get(COUNTS, key)
            found = row["count"] if row is not None else 0
            count = (found if isinstance(found, int) else 0) + (1 if after.get(facet) == value else -1)
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


def _document(fold: _Fold) -> bytes:
    """The document of a device as JSON: its state, which is written once, between its id and where it stands."""
    state = StateCodec.of(fold.decider).to_json(fold.state)
    stands = {
        "revision": fold.last.revision,
        "position": fold.last.position,
        "updated_at": fold.last.recorded_at,
        "degraded": fold.degraded,
    }
    head, tail = orjson.dumps({"id": fold.device}), orjson.dumps(stands, option=orjson.OPT_UTC_Z)
    return b",".join((head[:-1], *((state[1:-1],) if state != b"{}" else ()), tail[1:]))
