"""The gateway's own aggregate: a ledger of what it went through, from begin to end.

Its stream is named after the gateway. The gateway records outages itself; operators acknowledge those by which
something may have been lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal, assert_never, cast

from pydantic import AwareDatetime, Field

from gateway.domain.decider import Command, Context, Decider, Document, Event, Role
from gateway.errors import NotFound

OutageKind = Literal["broker", "session", "store", "crash", "clock"]
"""``broker``: no connection. ``session``: the broker had forgotten us. ``store``: the event store was away.
``crash``: the gateway ended without taking leave. ``clock``: the time jumped."""

TO_ACKNOWLEDGE: Final[frozenset[OutageKind]] = frozenset({"session"})
"""By these something may have been lost that nobody but people can find out."""

KEPT: Final = 50
"""How many outages the state shows, of those to be acknowledged and of the others; the stream has all."""

OutageId = Annotated[str, Field(min_length=1, max_length=64)]


class OutageRecorded(Event):
    """An outage is over."""

    outage: str
    kind: OutageKind
    began_at: AwareDatetime
    ended_at: AwareDatetime
    times: int = 1
    cause: str = ""
    affected: str = ""


class OutageAcknowledged(Event):
    """An operator knows of an outage and has seen to what it may have cost.

    Attributes:
        outage: its id; empty for those that the ledger no longer shows.
        older: how many of them there were.
    """

    outage: str
    by: str
    note: str | None = None
    older: int = 0


class RecordOutage(Command):
    """Record an outage; the gateway does it itself, and nobody may send it."""

    name: ClassVar = "record-outage"
    issuers: ClassVar[frozenset[Role]] = frozenset()
    causes: ClassVar[tuple[type[Event], ...]] = (OutageRecorded,)

    outage: OutageId = Field(description="Id that it is acknowledged by")
    kind: OutageKind = Field(description="What was away or lost")
    began_at: AwareDatetime = Field(description="When it began, as far as the gateway knows")
    ended_at: AwareDatetime = Field(description="When it was over")
    times: int = Field(1, ge=1, description="How often it came back within a short time")
    cause: str = Field("", description="In the words of the last failure")
    affected: str = Field("", description="What it may have cost")


class AcknowledgeOutage(Command):
    """Say that somebody knows of an outage, and has seen to what it may have cost."""

    name: ClassVar = "acknowledge-outage"
    issuers: ClassVar = frozenset({Role.OPERATOR})
    causes: ClassVar[tuple[type[Event], ...]] = (OutageAcknowledged,)

    outage: OutageId | None = Field(None, description="Id of the outage; without one, all that are not acknowledged")
    note: Annotated[str, Field(max_length=256)] | None = Field(None, description="What was done about it")


@dataclass(frozen=True, slots=True)
class Outage:
    """One line of the ledger."""

    kind: OutageKind
    began_at: datetime
    ended_at: datetime
    times: int
    cause: str
    affected: str
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class GatewayState:
    """What the ledger says.

    Attributes:
        unacknowledged: outages that wait for an operator, by id, oldest first.
        unacknowledged_older: how many more of them wait that are too old to be shown.
        outages: the newest of the others, by id, oldest first.
        counts: how many there were, by kind.
    """

    unacknowledged: Mapping[str, Outage] = field(default_factory=dict)
    unacknowledged_older: int = 0
    outages: Mapping[str, Outage] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


def decide(command: Command, state: GatewayState, context: Context) -> tuple[Event, ...]:
    """What a command causes.

    Raises:
        NotFound: it acknowledges an outage that the ledger does not show.
    """
    match cast("RecordOutage | AcknowledgeOutage", command):
        case RecordOutage() as record:
            return (OutageRecorded(at=context.at, **dict(record)),)
        case AcknowledgeOutage(outage=wanted, note=note):
            waiting = state.unacknowledged.keys()
            if wanted is not None and wanted not in waiting and wanted not in state.outages:
                raise NotFound(f"there is no outage {wanted}", type="unknown-outage", field="data.outage", value=wanted)
            known = [(outage, 0) for outage in waiting if wanted in {None, outage}]
            if wanted is None and state.unacknowledged_older:
                known.insert(0, ("", state.unacknowledged_older))
            return tuple(
                OutageAcknowledged(at=context.at, outage=outage, by=context.actor, note=note, older=older)
                for outage, older in known
            )
        case unreachable:
            assert_never(unreachable)


def evolve(state: GatewayState, event: Event) -> GatewayState:
    """The ledger after one more event."""
    match cast("OutageRecorded | OutageAcknowledged", event):
        case OutageRecorded() as new:
            line = Outage(new.kind, new.began_at, new.ended_at, new.times, new.cause, new.affected)
            counts = {**state.counts, new.kind: state.counts.get(new.kind, 0) + 1}
            if new.kind in TO_ACKNOWLEDGE:
                waiting = _with(state.unacknowledged, new.outage, line)
                older = state.unacknowledged_older + len(state.unacknowledged.keys() - waiting.keys())
                return replace(state, unacknowledged=waiting, unacknowledged_older=older, counts=counts)
            return replace(state, outages=_with(state.outages, new.outage, line), counts=counts)
        case OutageAcknowledged() as known:
            found = state.unacknowledged.get(known.outage)
            if found is None:
                return replace(state, unacknowledged_older=max(state.unacknowledged_older - known.older, 0))
            line = replace(found, acknowledged_by=known.by, acknowledged_at=known.at, note=known.note)
            waiting = {id_: other for id_, other in state.unacknowledged.items() if id_ != known.outage}
            return replace(state, unacknowledged=waiting, outages=_with(state.outages, known.outage, line))
        case unreachable:
            assert_never(unreachable)


def _with(outages: Mapping[str, Outage], id_: str, line: Outage) -> Mapping[str, Outage]:
    return dict(list({**outages, id_: line}.items())[-KEPT:])


def _no_configuration(_state: GatewayState) -> Document | None:
    return None


GATEWAY: Final = Decider(
    category="gateway",
    collection="gateways",
    commands=(RecordOutage, AcknowledgeOutage),
    events=(OutageRecorded, OutageAcknowledged),
    initial=GatewayState(),
    decide=decide,
    evolve=evolve,
    state_type=GatewayState,
    is_retired=lambda _state: False,
    desired=_no_configuration,
)
"""What every gateway serves beside the aggregates that its settings name."""
