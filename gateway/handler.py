"""The commands of one device become answers: known? load, decide, append, remember."""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
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
from gateway.ports import AppendNew, Clock, EventStore, Outcomes

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
        append_new: appends where the store can tell by itself that a command is known; then hardly any has to be looked
            up before it is decided.
        before_append: waits for those who follow the log from its end to have begun; raises StoreUnavailable.
        late_until: until when (monotonic seconds) an append of the gateway that ran before may still land.
    """

    store: EventStore
    outcomes: Outcomes
    aggregates: Aggregates
    encode: Encode
    clock: Clock
    append_new: AppendNew | None = None
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

    def is_reading(self, request: Request) -> bool:
        """Whether this command waits for a long stream to be read, or did when it was cut off."""
        return request.decider is not None and stream_of(request.decider, request.device) in self.aggregates.being_read

    async def _settle(self, decider: Decider[Any] | None, requests: Sequence[Request]) -> list[Answer]:
        stream = stream_of(decider, requests[0].device) if decider is not None else ""
        is_new = decider is not None and self.append_new is not None and not self._doubtful()
        for _ in range(MAX_CONFLICTS):
            # asked before loading: until then it may land behind the state that is loaded
            landing = self._landing()
            if self.append_new is None and any(map(self._has_expired, requests)):
                # nothing is appended for it, which would prove whether what is remembered of the stream is all
                self.aggregates.forget(stream)
            aggregate = await self.aggregates.load(decider, stream) if decider is not None else Aggregate(None)
            batch = self._decided_as_new(decider, aggregate, requests, landing) if is_new else None
            if batch is None:
                is_new = False
                # 1. what was settled before keeps its outcome; asked after loading: nothing may lie between the two
                known = await self._known(stream, aggregate.revision, requests)
                # 2. decide the others, in order
                batch = self._decided(decider, aggregate, known, requests, landing)
            # 3. remember what leaves no event: later, it would be decided anew behind those whose events are appended
            if verdicts := batch.verdicts:
                await self.outcomes.remember(verdicts)
            # 4. append: from here on the accepted ones are durable
            appended = None
            if decider is not None and batch.events:
                try:
                    appended = await self._append(stream, aggregate.revision, batch, is_new=is_new)
                except WrongExpectedRevision as conflict:
                    if is_new:
                        # it may be a copy, or behind somebody else's
                        is_new = False
                        continue
                    log.info("append_conflict", stream=stream, expected=conflict.expected, actual=conflict.actual)
                    continue
                await self.aggregates.advance(decider, stream, batch.aggregate, batch.events[-1].id)
            batch.settle(appended)
            # 5. answer each copy
            return [batch.answer(request) for request in requests]
        raise StoreUnavailable(f"{stream}: somebody else appended first, {MAX_CONFLICTS} times in a row")

    def _decided(
        self,
        decider: Decider[Any] | None,
        aggregate: Aggregate,
        known: Mapping[UUID, Outcome],
        requests: Sequence[Request],
        landing: tuple[Collection[UUID], float],
    ) -> Batch:
        batch = Batch(decider, aggregate, known, self.encode, self.clock.now(), *landing)
        for request in requests:
            batch.add(request)
        return batch

    def _decided_as_new(
        self,
        decider: Decider[Any] | None,
        aggregate: Aggregate,
        requests: Sequence[Request],
        landing: tuple[Collection[UUID], float],
    ) -> Batch | None:
        """What comes of them if nothing is known of any, where the append will tell whether that is so."""
        try:
            batch = self._decided(decider, aggregate, {}, requests, landing)
        except Exception:  # noqa: BLE001 - of a copy nobody wants to know; else it comes again when they are looked up
            return None
        return batch if batch.is_all_events else None

    async def _known(self, stream: str, revision: int, requests: Sequence[Request]) -> Mapping[UUID, Outcome]:
        """The outcomes that hold: of a verdict that was remembered before the append, its premise is in the log."""
        keys = [request.key for request in requests if request.sender_gave_id]
        if not keys:
            return {}
        known = await self.outcomes.find(stream, revision, keys)
        premises = {outcome.premise for outcome in known.values() if outcome.premise is not None}
        if not premises:
            return known
        found = {**await self.outcomes.find(stream, revision, list(premises - known.keys())), **known}
        in_log = {key for key in premises if key in found and found[key].events}
        return {key: known[key] for key in known if known[key].premise is None or known[key].premise in in_log}

    async def _append(self, stream: str, expected: int, batch: Batch, *, is_new: bool) -> Appended:
        await self.before_append()
        append = self.append_new if is_new and self.append_new is not None else self.store.append
        began = self.clock.monotonic()
        try:
            appended = await append(stream, expected, batch.events)
        except BaseException as error:
            # whatever happened, what is cached of this stream may be out of date; but a copy says nothing about that
            if not (isinstance(error, WrongExpectedRevision) and error.actual == expected):
                self.aggregates.forget(stream)
            if not isinstance(error, WrongExpectedRevision):
                self._doubts.update(dict.fromkeys(batch.keys, self.clock.monotonic() + DOUBT))
            raise
        self.observe(Step.APPEND, self.clock.monotonic() - began, 1)
        return appended

    def _has_expired(self, request: Request) -> bool:
        return request.expires_at is not None and request.expires_at <= self.clock.now()

    def _landing(self) -> tuple[Collection[UUID], float]:
        """What may still land in the log: commands, and for how many seconds more those of the gateway before."""
        return frozenset(self._doubtful()), self._late()

    def _doubtful(self) -> Collection[UUID]:
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
    if len(requests) == 1:
        yield requests[0].decider, list(requests)
        return
    for _, group in groupby(requests, key=lambda request: request.decider and request.decider.category):
        run = list(group)
        yield run[0].decider, run
