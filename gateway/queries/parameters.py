"""What each query takes."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from gateway.domain.decider import Timestamp
from gateway.ids import MAX_COMMAND_ID, NAME
from gateway.intake import CorrelationId

MAX_PAGE = 500
MAX_WAIT_MS = 30_000
MAX_PLACE = 2**63 - 1
"""The highest revision or position that a store can be asked for."""

Name = Annotated[str, Field(pattern=f"^(?:{NAME.pattern})$", description="Id of the device")]
Path = Annotated[str, Field(min_length=1, max_length=256)]
Fields = Annotated[list[Path], Field(max_length=64)]
"""Dotted paths of a document; an answer has them as they are named."""

Cursor = Annotated[str, Field(max_length=32_768, description="`next` of the page before")]
CommandId = Annotated[str, Field(min_length=1, max_length=MAX_COMMAND_ID)]
Place = Annotated[UUID, Field(description="Of a command id: `next` of the page before")]
PageSize = Annotated[int, Field(ge=1, le=MAX_PAGE, description="Most items of a page")]
Revision = Annotated[int, Field(ge=-1, le=MAX_PLACE)]

STARTS: Final = ("command_id", "event_id", "correlation_id")
"""What a trace starts from, one of them."""


class Parameters(BaseModel):
    """What every query takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    min_position: int | None = Field(None, ge=0, description="Wait until the read cache has come so far")
    timeout_ms: int = Field(5_000, ge=0, le=MAX_WAIT_MS, description="At most so long; then code 408")


ProjectionName = Annotated[str, Field(pattern=f"^(?:{NAME.pattern})$", description="Its documents, not the states")]


class Get(Parameters):
    """The document of one device."""

    device: Name
    fields: Fields | None = Field(None, description="Only these, and the id")
    projection: ProjectionName | None = None


class List(Parameters):
    """The documents of many devices."""

    projection: ProjectionName | None = None
    filter: dict[Path, JsonValue] = Field({}, description="Conditions by dotted path, all of which must hold")
    sort: Path = Field("id", description="Dotted path; with a minus in front, the other way round")
    fields: Fields | None = Field(None, description="Only these, and the id")
    limit: PageSize = 50
    cursor: Cursor | None = None


class Alarms(Parameters):
    """Active alarms, of one device or of all."""

    device: Name | None = None
    filter: dict[Path, JsonValue] = Field({}, description="Conditions by field, all of which must hold")
    limit: PageSize = 50
    cursor: Cursor | None = None


class Summary(Parameters):
    """How many devices there are, by each of their facets."""


class History(Parameters):
    """The events of one device."""

    device: Name
    after: Revision = Field(-1, description="Only above this revision; newest first: below it, if it is given")
    order: Literal["oldest", "newest"] = Field("oldest", description="Which events come first")
    types: Annotated[list[Path], Field(max_length=64)] | None = Field(None, description="Only events of these types")
    since: Timestamp | None = Field(None, description="Only events that were recorded then or later")
    until: Timestamp | None = Field(None, description="Only events that were recorded before then")
    limit: PageSize = 50


Moment = Revision | Timestamp


class StateAt(Parameters):
    """The state of one device as it was."""

    device: Name
    at: Moment = Field(description="After this revision, or after the last event that was recorded by this time")
    fields: Fields | None = Field(None, description="Only these of the state")


class Diff(Parameters):
    """What changed in the state of one device, as JSON Patch."""

    model_config = ConfigDict(populate_by_name=True)

    device: Name
    before: Moment = Field(alias="from", description="A revision, or a time")
    after: Moment = Field(alias="to", description="A revision, or a time")


class OutcomeOf(Parameters):
    """What became of a command id."""

    command_id: CommandId
    actor: Name | None = Field(None, description="Only commands that he sent")
    device: Name | None = Field(None, description="Only commands for this device")
    limit: PageSize = 50
    cursor: Place | None = None


class Trace(Parameters):
    """What caused what: commands, each with the events that it caused."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in STARTS]})

    command_id: CommandId | None = None
    event_id: UUID | None = None
    correlation_id: CorrelationId | None = None
    actor: Name | None = Field(None, description="Only commands that he sent")
    device: Name | None = Field(None, description="Only commands for this device")
    cursor: Place | None = None
    after: int | None = Field(
        None, ge=0, le=MAX_PLACE, description="Of a correlation id: look at events with a higher position only"
    )
    limit: PageSize = 50

    @model_validator(mode="after")
    def _has_one_start(self) -> Self:
        if sum(getattr(self, name) is not None for name in STARTS) != 1:
            raise ValueError(f"needs one of {', '.join(STARTS)}")
        return self


class Outages(Parameters):
    """What the gateway went through."""


class Commands(Parameters):
    """What can be sent."""


class Feed(Parameters):
    """Every event after a position, in order; waits for the next one where there is none yet."""

    from_position: int = Field(0, ge=0, le=MAX_PLACE, description="Only events with a higher position")
    after: int = Field(0, ge=0, le=MAX_PLACE, description="The same, as `next` names it; the higher one counts")
    device: Name | None = None
    types: Annotated[list[Path], Field(max_length=64)] | None = None
    limit: PageSize = 100
    wait_ms: int = Field(0, ge=0, le=MAX_WAIT_MS, description="How long to wait for a first one")

    @property
    def begin(self) -> int:
        """The position behind which it is taken up."""
        return max(self.from_position, self.after)


QUERIES: Final[Mapping[str, type[Parameters]]] = {
    "get": Get,
    "list": List,
    "alarms": Alarms,
    "summary": Summary,
    "history": History,
    "state_at": StateAt,
    "diff": Diff,
    "feed": Feed,
    "outcome": OutcomeOf,
    "trace": Trace,
    "outages": Outages,
    "commands": Commands,
}
"""What each query takes, by its name on the wire."""
