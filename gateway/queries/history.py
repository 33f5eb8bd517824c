"""Queries that the log answers: what happened to a device, and what it was like then. In slices, and bounded."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from gateway.codec import EventCodec, StateCodec, read_metadata
from gateway.domain.catalogue import Catalogue, stream_of
from gateway.domain.decider import Decider, Document
from gateway.errors import NotFound
from gateway.messages import NO_STREAM, RecordedEvent
from gateway.ports import LogReader
from gateway.queries.answers import Result, fitting
from gateway.queries.json_patch import make_patch
from gateway.queries.parameters import Diff, History, StateAt

PAGE: Final = 200
SLICE: Final = 50
"""Events that are folded in one go: one or two milliseconds."""

MOST_SCANNED: Final = 5_000
"""Events that one answer looks at, however few of them it wants."""


@dataclass(frozen=True, slots=True)
class HistoryQueries:
    """Asks the log."""

    store: LogReader
    catalogue: Catalogue
    codec: EventCodec

    async def history(self, query: History) -> Result:
        """The events of one device, a page of them.

        Raises:
            NotFound: the device is unknown.
            StoreUnavailable: the store is away.
        """
        _, stream = await self._find(query.device)
        events = self._newest_first(stream, query.after) if query.order == "newest" else self._read(stream, query.after)
        found: list[RecordedEvent] = []
        scanned, place = 0, query.after
        async with aclosing(events):
            async for event in events:
                if len(found) > query.limit or scanned == MOST_SCANNED:
                    break
                scanned, place = scanned + 1, event.revision
                if _is_wanted(event, query):
                    found.append(event)
        items, behind = fitting(((told(event), event.revision) for event in found), query.limit)
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
        [(revision, at, state)] = await self._states(decider, stream, [query.at])
        if revision == NO_STREAM:
            raise NotFound(f"{query.device} did not exist then")
        return Result({"device": query.device, "revision": revision, "at": at, "state": state})

    async def diff(self, query: Diff) -> Result:
        """What changed between two moments, as JSON Patch.

        Raises:
            NotFound: the device is unknown.
            StoreUnavailable: the store is away.
        """
        decider, stream = await self._find(query.device)
        before, after = await self._states(decider, stream, [query.before, query.after])
        return Result(
            {
                "device": query.device,
                "from": {"revision": before[0], "at": before[1]},
                "to": {"revision": after[0], "at": after[1]},
                "patch": make_patch(before[2], after[2]),
            }
        )

    async def _find(self, device: str) -> tuple[Decider[Any], str]:
        for decider in self.catalogue:
            stream = stream_of(decider, device)
            if await self.store.read_stream(stream, limit=1):
                return decider, stream
        raise NotFound(f"there is no device {device}")

    async def _read(self, stream: str, after: int) -> AsyncGenerator[RecordedEvent, None]:
        while page := await self.store.read_stream(stream, after=after, limit=PAGE):
            for event in page:
                yield event
            after = page[-1].revision

    async def _newest_first(self, stream: str, below: int) -> AsyncGenerator[RecordedEvent, None]:
        # there is nothing above its length, and whoever asks for that would have it read for ever
        length = await self._length(stream)
        below = length if below == NO_STREAM else min(below, length)
        while below > 0:
            start = max(below - PAGE, 0)
            page = await self.store.read_stream(stream, after=start - 1, limit=below - start)
            for event in reversed(page):
                yield event
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

    async def _states(
        self, decider: Decider[Any], stream: str, moments: Sequence[int | datetime]
    ) -> list[tuple[int, datetime | None, Document]]:
        """Revision, time and state at each of these moments, in one walk through the stream."""
        codec, state = StateCodec.of(decider), decider.initial
        reached: tuple[int, datetime | None] = NO_STREAM, None
        found: dict[int, tuple[int, datetime | None, Document]] = {}
        events = self._read(stream, NO_STREAM)
        async with aclosing(events):
            async for event in events:
                for index, moment in enumerate(moments):
                    if index not in found and _is_after(event, moment):
                        found[index] = *reached, codec.to_document(state)
                if len(found) == len(moments):
                    break
                state, _ = self.codec.apply(decider, state, event)
                reached = event.revision, event.recorded_at
                if event.revision % SLICE == 0:
                    await asyncio.sleep(0)
        return [found.get(index) or (*reached, codec.to_document(state)) for index in range(len(moments))]


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
