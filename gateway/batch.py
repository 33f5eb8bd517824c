"""A batch of commands for one device is decided in order, each on the state that the one before it leaves. Pure."""

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any, Final
from uuid import UUID

import orjson

from gateway.codec import accepted_code
from gateway.domain.decider import Context, Decider, Event
from gateway.errors import Deferral, Fault, Gone, IdConflict, Overloaded, Refusal, WrongRevision
from gateway.ids import event_id
from gateway.messages import (
    NO_STREAM,
    Aggregate,
    Answer,
    Appended,
    ErrorDetail,
    EventRef,
    NewEvent,
    Outcome,
    Request,
    Verdict,
)
from gateway.records import dataclass, replace

UNCHANGED: Final = 204

Encode = Callable[[Sequence[Event], Request], Sequence[NewEvent]]
"""Turns what a command caused into events with ids, as bytes."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A verdict whose events, if any, are not in the log yet."""

    request: Request
    outcome: Outcome
    events: Sequence[NewEvent] = ()

    @property
    def is_memorable(self) -> bool:
        """Whether only our own memory can give this verdict again."""
        return not self.events and self.request.sender_gave_id and self.outcome.retry_after_ms is None

    @property
    def verdict(self) -> Verdict:
        """The outcome with the command that it is for."""
        one = self.request
        return Verdict(one.key, one.command_id, one.actor, one.device, one.name, self.outcome)


class Batch:
    """Collects verdicts, and the events to append for them.

    Attributes:
        aggregate: as it will be once the events are appended.
        events: what to append, in order; none if nothing changes.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that a decision may depend on
        self,
        decider: Decider[Any] | None,
        aggregate: Aggregate,
        known: Mapping[UUID, Outcome],
        encode: Encode,
        now: datetime,
        doubtful: Container[UUID] = (),
        late: float = 0.0,
    ) -> None:
        self.aggregate = aggregate
        self.events: list[NewEvent] = []
        self._decider = decider
        self._outcomes = dict(known)
        self._encode = encode
        self._now = now
        self._doubtful = doubtful
        self._late = late
        self._drafts: dict[UUID, _Draft] = {}
        self._premise: UUID | None = None
        self._rehearsed: dict[UUID, Outcome] = {}

    def add(self, request: Request) -> None:
        """Decide one more command, unless it is a copy of one that is settled or stands earlier in this batch."""
        if request.dry_run:
            self._rehearsed[request.key] = self._rehearse(request)
        elif request.key not in self._outcomes and request.key not in self._drafts:
            self._drafts[request.key] = self._draft(request)

    @property
    def keys(self) -> Sequence[UUID]:
        """Of the commands that the events are of."""
        return [key for key, draft in self._drafts.items() if draft.events]

    @property
    def is_all_events(self) -> bool:
        """Whether every command that is to have an effect has left events."""
        return all(draft.events for draft in self._drafts.values())

    @property
    def verdicts(self) -> Sequence[Verdict]:
        """What to remember: the log alone would not tell it."""
        return [draft.verdict for draft in self._drafts.values() if draft.is_memorable]

    def settle(self, appended: Appended | None) -> None:
        """Take note of what the append says."""
        at = 0
        for key, draft in self._drafts.items():
            outcome = draft.outcome
            if draft.events and appended is not None:
                at += len(draft.events)
                outcome = replace(outcome, position=appended.positions[at - 1], persisted_at=appended.recorded_at)
            self._outcomes[key] = outcome

    def answer(self, request: Request) -> Answer:
        """What this copy is told, once the batch is settled."""
        if request.dry_run:
            return Answer(self._rehearsed[request.key])
        outcome = self._outcomes[request.key]
        if outcome.digest != request.digest:
            reused = IdConflict(f"command id {request.command_id} was used before, with other content")
            return Answer(refused(reused, request))
        draft = self._drafts.get(request.key)
        return Answer(outcome, duplicate=draft is None or draft.request is not request)

    def _draft(self, request: Request) -> _Draft:
        try:
            decided = self._decide(request)
        except Refusal as refusal:
            refusal.__traceback__ = None  # through this very request it would keep itself alive
            return self._without_events(request, refused(refusal, request, self._revision))
        outcome = self._accepted(request, decided)
        if not decided:
            return self._without_events(request, outcome)
        events = self._encode(decided, request)
        self._advance(decided)
        self.events += events
        self._premise = request.key
        return _Draft(request, outcome, events)

    def _without_events(self, request: Request, outcome: Outcome) -> _Draft:
        draft = _Draft(request, outcome)
        if draft.is_memorable:
            return replace(draft, outcome=replace(outcome, persisted_at=self._now, premise=self._premise))
        return draft

    def _rehearse(self, request: Request) -> Outcome:
        """The outcome that the command would have, with the events themselves and without any effect."""
        try:
            decided = self._decide(request)
        except Refusal as refusal:
            refusal.__traceback__ = None  # as above
            return refused(refusal, request, self._revision)
        outcome = self._accepted(request, decided)
        shown = zip(outcome.events, decided, strict=True)
        return replace(
            outcome,
            revision=self._revision,
            events=tuple(replace(ref, data=orjson.loads(event.model_dump_json())) for ref, event in shown),
        )

    def _decide(self, request: Request) -> tuple[Event, ...]:
        if request.refusal is not None:
            raise request.refusal
        # what may be on its way into the log already must not be refused, or it would have both an answer and an effect
        if request.expires_at is not None and request.expires_at <= self._now and request.key not in self._doubtful:
            if self._late and request.sender_gave_id:
                wait = ceil(self._late * 1_000)
                raise Overloaded("expired, but may have taken effect before the restart", retry_after_ms=wait)
            raise Gone(f"expired at {request.expires_at.isoformat()}")
        if self.aggregate.degraded is not None:
            raise Fault(f"{request.device} is degraded: {self.aggregate.degraded}", type="device-degraded")
        if request.expected_revision is not None and request.expected_revision != self.aggregate.revision:
            raise WrongRevision(
                f"{request.device} is at revision {self.aggregate.revision}, not {request.expected_revision}",
                field="expected_revision",
                value=request.expected_revision,
            )
        if self._decider is None or request.command is None or request.role is None:
            raise Fault("the command was neither refused nor understood")
        context = Context(request.received_at, request.actor, request.role)
        return self._decider.decide(request.command, self.aggregate.state, context)

    def _accepted(self, request: Request, decided: Sequence[Event]) -> Outcome:
        revision = self.aggregate.revision
        return Outcome(
            code=accepted_code(revision + 1) if decided else UNCHANGED,
            digest=request.digest,
            received_at=request.received_at,
            revision=revision + len(decided),
            events=tuple(
                EventRef(
                    event_id(request.actor, request.device, request.command_id, index) if index else request.key,
                    type(event).__name__,
                    revision + 1 + index,
                )
                for index, event in enumerate(decided)
            ),
        )

    def _advance(self, decided: Sequence[Event]) -> None:
        if self._decider is not None and decided:
            before = self.aggregate
            state = self._decider.fold(decided, before.state)
            self.aggregate = Aggregate(state, before.revision + len(decided), before.degraded)

    @property
    def _revision(self) -> int | None:
        return self.aggregate.revision if self.aggregate.revision != NO_STREAM else None


def refused(refusal: Refusal, request: Request, revision: int | None = None) -> Outcome:
    """The outcome that a refusal is told as."""
    return Outcome(
        code=refusal.code,
        digest=request.digest,
        received_at=request.received_at,
        revision=revision,
        error=ErrorDetail(refusal.type, refusal.message, refusal.field, refusal.value),
        retry_after_ms=refusal.retry_after_ms if isinstance(refusal, Deferral) else None,
    )
