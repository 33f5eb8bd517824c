"""The commands of one device become answers: known? load, decide, append, remember."""

from collections.abc import Awaitable, Callable, Container, Iterator, Mapping, Sequence
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
from gateway.latency import Observe, Step, unobserved
from gateway.messages import Aggregate, Answer, Appended, Outcome, Request
from gateway.ports import Clock, EventStore, Outcomes

log = structlog.get_logger()

MAX_CONFLICTS: Final = 8
"""How often a batch is decided again because somebody else appended first."""

DOUBT: Final = 15.0
"""Seconds; longer than a store takes to write or drop what it was sent, and than its connection lives after a cut."""


async def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Handler:
    """Settles commands: answers, or raises StoreUnavailable, after which the same call may be made again.

    Attributes:
        before_append: waits for those who follow the log from its end to have begun; raises StoreUnavailable.
        late_until: until when (monotonic seconds) an append of the gateway that ran before may still land.
    """

    store: EventStore
    outcomes: Outcomes
    aggregates: Aggregates
    encode: Encode
    clock: Clock
    before_append: Callable[[], Awaitable[None]] = _nothing
    observe: Observe = unobserved
    late_until: float = 0.0
    _doubts: dict[UUID, float] = field(default_factory=dict, init=False)
    """Until when (monotonic seconds) the events of a command may land whose append had no answer."""

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
            known = await self._known(stream, aggregate.revision, keys) if keys else {}
            # 2. decide the others, in order
            batch = Batch(decider, aggregate, known, self.encode, self.clock.now(), self._doubtful(), self._late())
            for request in requests:
                batch.add(request)
            # 3. remember what leaves no event: later, it would be decided anew behind those whose events are appended
            if verdicts := batch.verdicts:
                await self.outcomes.remember(verdicts)
            # 4. append: from here on the accepted ones are durable
            appended = None
            if decider is not None and batch.events:
                try:
                    appended = await self._append(stream, aggregate.revision, batch)
                except WrongExpectedRevision as conflict:
                    log.info("append_conflict", stream=stream, expected=conflict.expected, actual=conflict.actual)
                    continue
                await self.aggregates.advance(decider, stream, batch.aggregate, batch.events[-1].id)
            batch.settle(appended)
            # 5. answer each copy
            return [batch.answer(request) for request in requests]
        raise StoreUnavailable(f"{stream}: somebody else appended first, {MAX_CONFLICTS} times in a row")

    async def _known(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:
        """The outcomes that hold: of a verdict that was remembered before the append, its premise is in the log."""
        known = await self.outcomes.find(stream, revision, keys)
        premises = {outcome.premise for outcome in known.values() if outcome.premise is not None}
        if not premises:
            return known
        found = {**await self.outcomes.find(stream, revision, list(premises - known.keys())), **known}
        in_log = {key for key in premises if key in found and found[key].events}
        return {key: known[key] for key in known if known[key].premise is None or known[key].premise in in_log}

    async def _append(self, stream: str, expected: int, batch: Batch) -> Appended:
        await self.before_append()
        began = self.clock.monotonic()
        try:
            appended = await self.store.append(stream, expected, batch.events)
        except BaseException as error:
            # whatever happened, what is cached of this stream may be out of date
            self.aggregates.forget(stream)
            if not isinstance(error, WrongExpectedRevision):
                self._doubts.update(dict.fromkeys(batch.keys, self.clock.monotonic() + DOUBT))
            raise
        self.observe(Step.APPEND, self.clock.monotonic() - began, 1)
        return appended

    def _doubtful(self) -> Container[UUID]:
        """The commands whose events may still land in the log."""
        now = self.clock.monotonic()
        for key in [key for key, until in self._doubts.items() if until <= now]:
            del self._doubts[key]
        return self._doubts.keys()

    def _late(self) -> float:
        """For how many seconds more an append of the gateway that ran before may still land."""
        return max(0.0, self.late_until - self.clock.monotonic())


def _by_decider(requests: Sequence[Request]) -> Iterator[tuple[Decider[Any] | None, list[Request]]]:
    """Runs of requests that concern one stream: nearly always all of them."""
    for _, group in groupby(requests, key=lambda request: request.decider and request.decider.category):
        run = list(group)
        yield run[0].decider, run
