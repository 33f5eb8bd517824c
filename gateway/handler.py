"""The commands of one device become answers: known? load, decide, append, remember."""

from collections.abc import Awaitable, Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final
from uuid import UUID

import structlog

from gateway.aggregates import Aggregates
from gateway.batch import Batch, Encode
from gateway.domain.catalogue import stream_of
from gateway.domain.decider import Decider
from gateway.errors import StoreUnavailable, WrongExpectedRevision
from gateway.messages import Aggregate, Answer, Appended, Request, Verdict
from gateway.ports import Clock, EventStore, Outcomes

log = structlog.get_logger()

MAX_CONFLICTS: Final = 8
"""How often a batch is decided again because somebody else appended first."""

MAX_OWED: Final = 1_000
"""How many verdicts are kept at hand while the disk does not take them; their senders may never ask again."""

DOUBT: Final = 15.0
"""Seconds; longer than a store takes to write or drop what it was sent, and than its connection lives after a cut."""


async def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Handler:
    """Settles commands: answers, or raises StoreUnavailable, after which the same call may be made again.

    Attributes:
        before_append: waits for those who follow the log from its end to have begun; raises StoreUnavailable.
    """

    store: EventStore
    outcomes: Outcomes
    aggregates: Aggregates
    encode: Encode
    clock: Clock
    before_append: Callable[[], Awaitable[None]] = _nothing
    _doubts: dict[UUID, float] = field(default_factory=dict, init=False)
    """Until when (monotonic seconds) the events of a command may land whose append had no answer."""

    _owed: dict[UUID, Verdict] = field(default_factory=dict, init=False)
    """Verdicts that are not remembered yet. Others of their batch may have taken effect: they are not decided again."""

    async def handle(self, requests: Sequence[Request]) -> list[Answer]:
        """Settle the commands of one device in this order, in one write where possible; an answer for each.

        Raises:
            StoreUnavailable: some of them may have taken effect; the same call again finds out which.
        """
        answers: list[Answer] = []
        for decider, group in _by_decider(requests):
            answers += await self._settle(decider, group)
        return answers

    async def _settle(self, decider: Decider[Any] | None, requests: Sequence[Request]) -> list[Answer]:
        keys = [request.key for request in requests if request.sender_gave_id]
        stream = stream_of(decider, requests[0].device) if decider is not None else ""
        for _ in range(MAX_CONFLICTS):
            # 1. what was settled before keeps its outcome; asked after loading, so that nothing lies between the two
            aggregate = await self.aggregates.load(decider, stream) if decider is not None else Aggregate(None)
            known = await self.outcomes.find(stream, aggregate.revision, keys) if keys else {}
            owed = [self._owed[key] for key in keys if key in self._owed and key not in known]
            known = {**{verdict.key: verdict.outcome for verdict in owed}, **known}
            # 2. decide the others, in order
            batch = Batch(decider, aggregate, known, self.encode, self.clock.now(), self._doubtful())
            for request in requests:
                batch.add(request)
            # 3. append: from here on the accepted ones are durable
            appended = None
            if decider is not None and batch.events:
                try:
                    appended = await self._append(stream, aggregate.revision, batch)
                except WrongExpectedRevision as conflict:
                    log.info("append_conflict", stream=stream, expected=conflict.expected, actual=conflict.actual)
                    continue
                await self.aggregates.advance(decider, stream, batch.aggregate, batch.events[-1].id)
            # 4. remember the others: a verdict that leaves no event must not be another one next time
            if to_remember := [*owed, *batch.settle(appended)]:
                await self._remember(to_remember)
            # 5. answer each copy
            return [batch.answer(request) for request in requests]
        raise StoreUnavailable(f"{stream}: somebody else appended first, {MAX_CONFLICTS} times in a row")

    async def _append(self, stream: str, expected: int, batch: Batch) -> Appended:
        await self.before_append()
        try:
            return await self.store.append(stream, expected, batch.events)
        except BaseException as error:
            # whatever happened, what is cached of this stream may be out of date
            self.aggregates.forget(stream)
            if not isinstance(error, WrongExpectedRevision):
                self._doubts.update(dict.fromkeys(batch.keys, self.clock.monotonic() + DOUBT))
            raise

    async def _remember(self, verdicts: Sequence[Verdict]) -> None:
        self._owed.update((verdict.key, verdict) for verdict in verdicts)
        while len(self._owed) > MAX_OWED:
            del self._owed[next(iter(self._owed))]
        await self.outcomes.remember(verdicts)
        for verdict in verdicts:
            self._owed.pop(verdict.key, None)

    def _doubtful(self) -> Container[UUID]:
        """The commands whose events may still land in the log."""
        now = self.clock.monotonic()
        for key in [key for key, until in self._doubts.items() if until <= now]:
            del self._doubts[key]
        return self._doubts.keys()


def _by_decider(requests: Sequence[Request]) -> Iterator[tuple[Decider[Any] | None, list[Request]]]:
    """Runs of requests that concern one stream: nearly always all of them."""
    for _, group in groupby(requests, key=lambda request: request.decider and request.decider.category):
        run = list(group)
        yield run[0].decider, run
