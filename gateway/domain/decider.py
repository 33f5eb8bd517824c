"""What an aggregate is made of: commands, events, and a decider that turns the one into the other.

The decider pattern (Jérémie Chassaing): an initial state, ``decide(command, state) -> events`` and
``evolve(state, event) -> state``. All of it is pure: the time, the actor and every id come in with the command.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from gateway.records import dataclass

S = TypeVar("S")

Document = dict[str, JsonValue]
"""A JSON object of the read cache."""


_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _rfc3339(value: object) -> object:
    if not isinstance(value, datetime) and not (isinstance(value, str) and _RFC3339.fullmatch(value)):
        raise ValueError("must be an RFC 3339 time with an offset, such as 2026-03-01T12:00:00Z")
    return value


Timestamp = Annotated[AwareDatetime, BeforeValidator(_rfc3339), Field(strict=False)]
"""A time as a sender writes it; pydantic alone would take numbers and plain dates, too."""


class Role(StrEnum):
    """What an actor is to a device."""

    DEVICE = "device"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision needs to know beside the command and the state.

    Attributes:
        at: when the command was received, in UTC; it becomes the events' time.
        actor: who sent it, as the broker authenticated him.
        role: what that actor is to this device.
    """

    at: datetime
    actor: str
    role: Role


class Event(BaseModel):
    """A fact, in the past tense. Its type on the wire is the name of its class.

    Unknown fields are ignored, so that an older gateway reads what a newer one wrote.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    version: ClassVar[int] = 1
    """Schema version; a change of the fields needs a new one and an upcaster in the codec."""

    at: AwareDatetime
    """When the gateway received the command that caused it, in UTC."""


class Command(BaseModel):
    """A wish, in the imperative. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: ClassVar[str]
    """The command's name as a topic level."""

    issuers: ClassVar[frozenset[Role]]
    """Which roles may send it."""

    causes: ClassVar[tuple[type[Event], ...]]
    """Every event that it can cause."""


def _no_facets(_state: object) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Decider(Generic[S]):
    """One kind of aggregate. Another kind brings its own; nothing outside the domain changes.

    Attributes:
        category: prefix of its streams: ``device`` gives ``device-pump-7``.
        collection: its table in the read cache.
        commands, events: every type it knows.
        initial: the state before the first event.
        decide: the events that a command causes, none where nothing has to change; raises
            :class:`~gateway.errors.Refusal`.
        evolve: the state after one more event.
        state_type: the state's class, a frozen dataclass that pydantic can write as JSON and read back.
        is_retired: whether the state says that the thing is gone, so that its retained messages are removed.
        desired: the retained configuration for the device: ``None`` where it never had any, an empty object where there
            is none any more.
        facets: values to count by in the read cache, such as ``{"model": "T-1000", "status": "online"}``.
        rows: further tables of the read cache: for each table the rows that this state contributes, by row key.
    """

    category: str
    collection: str
    commands: tuple[type[Command], ...]
    events: tuple[type[Event], ...]
    initial: S
    decide: Callable[[Command, S, Context], tuple[Event, ...]]
    evolve: Callable[[S, Event], S]
    state_type: type[S]
    is_retired: Callable[[S], bool]
    desired: Callable[[S], Document | None]
    facets: Callable[[S], Mapping[str, str]] = _no_facets
    rows: Mapping[str, Callable[[S], Mapping[str, Document]]] = field(default_factory=dict)

    def fold(self, events: Iterable[Event], state: S | None = None) -> S:
        """The state after these events, from the initial or a given state."""
        result = self.initial if state is None else state
        for event in events:
            result = self.evolve(result, event)
        return result
