"""Queries that the log answers: what happened to a device, and what it was like then. In slices, and bounded."""

from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from gateway.codec import EventCodec, StateCodec, read_metadata
from gateway.domain.catalogue import Catalogue, stream_of
from gateway.domain.decider import Decider
from gateway.errors import NotFound
from gateway.messages import NO_STREAM, RecordedEvent
from gateway.ports import LogReader
from gateway.queries.answers import Result, fitting
from gateway.queries.filters import picked
from gateway.queries.json_patch import make_patch
from gateway.queries.parameters import Diff, History, StateAt
from gateway.queries.passed import Passed, PassedStates
from gateway.queries.turns import Turns

PAGE: Final = 50
"""Events that are read in one go: what a command wants to know of the same store must not wait long behind them."""

EVERY: Final = 2_000
"""Events between two states that are kept on the way to another one."""

MOST_SCANNED: Final = 5_000
"""Events that one answer looks at, however few of them it wants."""


@dataclass(frozen=True, slots=True)
class HistoryQueries:
    """Asks the log."""

    store: LogReader
    catalogue: Catalogue
    codec: EventCodec
    turns: Turns = field(default_factory=Turns)
    passed: PassedStates = field(default_factory=PassedStates)

    async def history(self, query: History) -> Result:
        """The events of one device, a page of them.

        Raises:
            NotFound: the device is unknown.
            StoreUnavailable: the store is away.
        """
        _, stream = await self._find(query.device)
        pages = self._newest_first(stream, query.after) if query.order == "newest" else self._read(stream, query.after)
        found: list[RecordedEvent] = []
        scanned, place = 0, query.after
        async with aclosing(pages):
            async for whole_page in pages:
                page = whole_page[: MOST_SCANNED - scanned]
                scanned, place = scanned + len(page), page[-1].revision
                found += [event for event in page if _is_wanted(event, query)]
                if len(found) > query.limit or scanned == MOST_SCANNED:
                    break
        async with self.turns.turn() as turn:
            items, behind = await fitting(turn, ((told(event), event.revision) for event in found), query.limit)
        if behind is None and scanned == MOST_SCANNED:
            behind = place
        return Result(items, {"after": behind} if behind is not None else None)

    async def state_at(self, query: StateAt) -> Result:
        """The state of a device after a revision, or at a time.

        Raises:
            NotFound: the device is unknown, or was then.
            StoreUnavailable: the store is away.
        """
        decider, stream = await self._find(query.device)
        passed = await self._at(decider, stream, query.at)
        if passed is None:
            raise NotFound(f"{query.device} did not exist then")
        document = StateCodec.of(decider).to_document(passed.state)
        if query.fields is not None:
            document = picked(document, query.fields)
        return Result(
            {"device": query.device, "revision": passed.revision, "at": passed.recorded_at, "state": document}
        )

    async def diff(self, query: Diff) -> Result:
        """What changed between two moments, as JSON Patch.

        Raises:
            NotFound: the device is unknown.
            StoreUnavailable: the store is away.
        """
        decider, stream = await self._find(query.device)
        codec = StateCodec.of(decider)
        before, after = [await self._at(decider, stream, moment) for moment in (query.before, query.after)]
        documents = [codec.to_document(one.state if one else decider.initial) for one in (before, after)]
        return Result(
            {"device": query.device, "from": _place(before), "to": _place(after), "patch": make_patch(*documents)}
        )

    async def _find(self, device: str) -> tuple[Decider[Any], str]:
        for decider in self.catalogue:
            stream = stream_of(decider, device)
            if await self.store.read_stream(stream, limit=1):
                return decider, stream
        raise NotFound(f"there is no device {device}")

    async def _read(self, stream: str, after: int) -> AsyncGenerator[Sequence[RecordedEvent], None]:
        while page := await self.store.read_stream(stream, after=after, limit=PAGE):
            yield page
            after = page[-1].revision

    async def _newest_first(self, stream: str, below: int) -> AsyncGenerator[Sequence[RecordedEvent], None]:
        # there is nothing above its length, and whoever asks for that would have it read for ever
        length = await self._length(stream)
        below = length if below == NO_STREAM else min(below, length)
        while below > 0:
            start = max(below - PAGE, 0)
            page = await self.store.read_stream(stream, after=start - 1, limit=below - start)
            yield page[::-1]
            below = start

    async def _length(self, stream: str) -> int:
        """How many events a stream has, found in steps that double and halve: a store is read forwards only."""
        step, known = PAGE, 0
        while await self.store.read_stream(stream, after=known + step - 1, limit=1):
            known += step
            step *= 2
        while step:
            if await self.store.read_stream(stream, after=known + step - 1, limit=1):
                known += step
            else:
                step //= 2
        return known + 1

    async def _at(self, decider: Decider[Any], stream: str, moment: int | datetime) -> Passed | None:
        """The device after the last event before the first that is after this moment; ``None`` where it was not yet."""
        passed = await self._nearest(stream, moment)
        pages = self._read(stream, NO_STREAM if passed is None else passed.revision)
        async with aclosing(pages):
            async for page in pages:
                # times are not always in order: what comes behind the first that is after it is after it, too
                before = page[: next((at for at, event in enumerate(page) if _is_after(event, moment)), len(page))]
                passed = await self._fold(decider, stream, before, passed)
                if len(before) < len(page):
                    break
        if passed is not None:
            self.passed.keep(stream, passed)
        return passed

    async def _nearest(self, stream: str, moment: int | datetime) -> Passed | None:
        """A state that was passed before, if the log is still the one that it was passed in."""
        nearest = self.passed.nearest(stream, moment)
        if nearest is None:
            return None
        stands = await self.store.read_stream(stream, after=nearest.revision - 1, limit=1)
        if [event.id for event in stands] == [nearest.event_id]:
            return nearest
        self.passed.forget(stream)
        return None

    async def _fold(
        self, decider: Decider[Any], stream: str, events: Iterable[RecordedEvent], passed: Passed | None
    ) -> Passed | None:
        async with self.turns.turn() as turn:
            for event in events:
                state, _ = self.codec.apply(decider, decider.initial if passed is None else passed.state, event)
                passed = Passed.by(event, state, passed)
                if event.revision % EVERY == 0:
                    self.passed.keep(stream, passed)
                await turn.pause()
        return passed


def _place(passed: Passed | None) -> dict[str, Any]:
    if passed is None:
        return {"revision": NO_STREAM, "at": None}
    return {"revision": passed.revision, "at": passed.recorded_at}


def told(event: RecordedEvent) -> dict[str, Any]:
    """An event as people and programs are told of it; data that is no JSON as text."""
    metadata = read_metadata(event)
    return {
        "time": event.recorded_at,
        "position": event.position,
        "revision": event.revision,
        "id": str(event.id),
        "type": event.type,
        "device": event.stream.partition("-")[2],
        "actor": metadata.get("actor"),
        "command": metadata.get("command"),
        "command_id": metadata.get("command_id"),
        "data": _read(event.data),
    }


def _read(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return orjson.loads(data)
    except ValueError:
        # a history is for looking at what is there, also at what should not be
        return data.decode(errors="replace")


def _is_after(event: RecordedEvent, moment: int | datetime) -> bool:
    return event.recorded_at > moment if isinstance(moment, datetime) else event.revision > moment


def _is_wanted(event: RecordedEvent, query: History) -> bool:
    types: Collection[str] | None = query.types
    return (
        (types is None or event.type in types)
        and (query.since is None or event.recorded_at >= query.since)
        and (query.until is None or event.recorded_at < query.until)
    )
