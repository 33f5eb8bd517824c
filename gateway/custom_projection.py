"""Projections of one's own: further documents in the read cache, folded from the same events by functions of one's own.

What a function does wrong concerns its own documents alone: its projection has failed then, until it has a new version
or the cache is rebuilt. The same log always gives the same documents.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.codec import EventCodec, UnknownEvent, kept_json, read_metadata
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Document, Event
from gateway.ids import is_name
from gateway.messages import RecordedEvent
from gateway.ports import ReadModel

PROJECTIONS: Final = "projections"
"""The table that says which projections there are, in which version, and which have failed."""

MAX_DOCUMENT: Final = 64 * 1024
"""Bytes of a document as JSON."""


@dataclass(frozen=True, slots=True)
class ProjectedEvent:
    """An event as a projection is told of it.

    Attributes:
        device: whose event it is.
        event: what happened, in its newest version.
        revision: in the device's stream.
        position: in the log.
        metadata: who caused it, with which command; see the protocol.
    """

    device: str
    event: Event
    revision: int
    position: int
    metadata: Document


@dataclass(frozen=True, slots=True)
class CustomProjection:
    """Keeps one document for each device.

    Attributes:
        name: as queries ask for it, and part of the name of its table.
        version: another one has the documents made anew; to be changed with the function.
        project: the document after one more event, from the one before it; ``None`` where there is none. Pure, and
            quick: it runs on the event loop. What it is given it may keep and change.
    """

    name: str
    version: int
    project: Callable[[Document | None, ProjectedEvent], Document | None]

    def __post_init__(self) -> None:
        """Refuse what could not work: no type checker may have seen the module.

        Raises:
            ValueError: the name could not be asked for.
            TypeError: version or function are none.
        """
        version: object = self.version
        if not is_name(self.name):
            raise ValueError(f"{self.name!r} is no name: 1 to 64 of A-Z a-z 0-9 . _ : -, no sign first")
        if not isinstance(version, int) or not callable(self.project):
            raise TypeError(f"{self.name}: version must be a number, and project a function")


@dataclass(frozen=True, slots=True)
class Failure:
    """What a projection's function has raised, or done otherwise.

    Attributes:
        name: of the projection.
        device, position: of the event.
    """

    name: str
    device: str
    position: int
    error: Exception


class CustomProjections:
    """Folds events into the documents of all projections that the settings name.

    Attributes:
        is_empty: whether there are none.
        failures: what has failed and is not told yet.
    """

    def __init__(
        self, cache: ReadModel, catalogue: Catalogue, codec: EventCodec, projections: Sequence[CustomProjection]
    ) -> None:
        self.is_empty = not projections
        self.failures: list[Failure] = []
        self._cache = cache
        self._catalogue = catalogue
        self._codec = codec
        self._projections = tuple(projections)

    def is_current(self) -> bool:
        """Whether the cache has the documents of these projections in these versions, and of no others."""
        found = {row["id"]: row.get("version") for row in self._cache.documents(PROJECTIONS)}
        return found == {one.name: one.version for one in self._projections}

    def begin(self) -> None:
        """Say in an empty cache what it is going to hold."""
        for one in self._projections:
            self._cache.put(PROJECTIONS, one.name, {"id": one.name, "version": one.version, "failed": None})

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        """Fold events that follow the cache's position."""
        written: dict[tuple[str, str], bytes | None] = {}
        running = [one for one in self._projections if failure_of(self._cache, one.name) is None]
        for recorded in events:
            told = self._told(recorded)
            if told is None:
                continue
            for one in tuple(running):
                try:
                    written[one.name, told.device] = self._project(one, told, written)
                except Exception as error:  # noqa: BLE001 - somebody else's function may raise anything
                    running.remove(one)
                    self._fail(one, told, error)
        names = {one.name for one in running}
        for (name, device), encoded in written.items():
            if name not in names:
                continue
            if encoded is None:
                self._cache.remove(table_of(name), device)
            else:
                self._cache.put_encoded(table_of(name), device, encoded)

    def _told(self, recorded: RecordedEvent) -> ProjectedEvent | None:
        located = self._catalogue.locate(recorded.stream)
        event = self._codec.decode(recorded)
        if located is None or isinstance(event, UnknownEvent):
            return None
        return ProjectedEvent(located[1], event, recorded.revision, recorded.position, read_metadata(recorded))

    def _project(
        self, one: CustomProjection, told: ProjectedEvent, written: dict[tuple[str, str], bytes | None]
    ) -> bytes | None:
        """The document after one more event, as JSON."""
        key = one.name, told.device
        before = written[key] if key in written else self._cache.encoded(table_of(one.name), told.device)
        document = one.project(None if before is None else orjson.loads(before), told)
        if document is None:
            return None
        encoded = kept_json({**document, "id": told.device})
        if len(encoded) > MAX_DOCUMENT:
            raise ValueError(f"a document of {len(encoded)} bytes; the limit is {MAX_DOCUMENT}")
        return encoded

    def _fail(self, one: CustomProjection, told: ProjectedEvent, error: Exception) -> None:
        """Take all its documents away: they would grow old unnoticed."""
        table = table_of(one.name)
        for device in tuple(self._cache.keys(table)):
            self._cache.remove(table, device)
        # no more than is the same whenever this log is folded
        failure: Document = {"position": told.position, "error": type(error).__name__}
        self._cache.put(PROJECTIONS, one.name, {"id": one.name, "version": one.version, "failed": failure})
        self.failures.append(Failure(one.name, told.device, told.position, error))


def table_of(name: str) -> str:
    """The table of the read cache that has a projection's documents."""
    return f"projection:{name}"


def failure_of(cache: ReadModel, name: str) -> Any:  # noqa: ANN401 - a field of a document
    """At which position a projection has failed, and with which error; ``None`` while it works."""
    row = cache.get(PROJECTIONS, name)
    return row.get("failed") if row is not None else None


def custom_figures(cache: ReadModel) -> dict[str, Any]:
    """What health tells of all projections."""
    return {
        str(row["id"]): {"version": row["version"], "failed": row["failed"]} for row in cache.documents(PROJECTIONS)
    }
