"""Events, metadata and states to bytes and back.

Old events load for ever: one that was written with an older schema version passes through its upcasters first. A type
that this gateway does not know, or data that it cannot read, becomes an :class:`UnknownEvent`, never an exception.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

import orjson
from pydantic import TypeAdapter, ValidationError

from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Decider, Document, Event, S
from gateway.ids import event_id
from gateway.messages import EventRef, NewEvent, Outcome, RecordedEvent, Request, Verdict

Upcaster = Callable[[Document], Document]

UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}
"""From (event type, version it was written with) to the data as the next version would have written it."""

CREATED, APPLIED = 201, 200


@dataclass(frozen=True, slots=True)
class UnknownEvent:
    """An event that this gateway cannot read: from a newer version, or foreign."""

    type: str
    reason: str


def kept_json(value: object) -> bytes:
    """JSON that is kept in memory: what orjson returns holds on to the buffer it was written to, some 8 KiB."""
    return memoryview(orjson.dumps(value)).tobytes()


class EventCodec:
    """Reads and writes the events of one catalogue."""

    def __init__(self, catalogue: Catalogue, upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS) -> None:
        self._catalogue = catalogue
        self._upcasters = upcasters

    def encode(self, events: Sequence[Event], request: Request, gateway: str) -> list[NewEvent]:
        """The events that one command caused, with their ids and the metadata that they share."""
        meta: dict[str, Any] = {
            "command_id": request.command_id,
            "command": request.name,
            "command_digest": request.digest.hex(),
            "actor": request.actor,
            "gateway": gateway,
            "received_at": request.received_at,
            "$correlationId": request.correlation_id or request.command_id,
            "$causationId": request.command_id,
        }
        if request.issued_at is not None:
            meta["issued_at"] = request.issued_at
        if request.traceparent is not None:
            meta["traceparent"] = request.traceparent
        encoded = []
        for index, event in enumerate(events):
            meta["v"] = event.version
            key = event_id(request.actor, request.device, request.command_id, index) if index else request.key
            # what is at its default need not be written: half of the fields usually are
            data = event.__pydantic_serializer__.to_json(event, exclude_defaults=True)
            encoded.append(NewEvent(key, type(event).__name__, data, kept_json(meta)))
        return encoded

    def decode(self, recorded: RecordedEvent) -> Event | UnknownEvent:
        """The event in its newest version."""
        cls = self._catalogue.event(recorded.type)
        if cls is None:
            return UnknownEvent(recorded.type, "unknown event type")
        try:
            version = orjson.loads(recorded.metadata)["v"]
            if version == cls.version:
                return cls.model_validate_json(recorded.data)
            data = orjson.loads(recorded.data)
            while version < cls.version:
                data = self._upcasters[recorded.type, version](data)
                version += 1
            if version > cls.version:
                return UnknownEvent(recorded.type, f"written as version {version}, known up to {cls.version}")
            return cls.model_validate_json(orjson.dumps(data))
        except (ValidationError, ValueError, KeyError, TypeError) as error:
            return UnknownEvent(recorded.type, f"unreadable: {error!r}"[:200])

    def apply(self, decider: Decider[S], state: S, recorded: RecordedEvent) -> tuple[S, str | None]:
        """The state after a recorded event; where it cannot be applied, the state as it was, and why."""
        event = self.decode(recorded)
        if isinstance(event, UnknownEvent):
            return state, f"revision {recorded.revision}, {event.type}: {event.reason}"
        try:
            return decider.evolve(state, event), None
        except Exception as error:  # noqa: BLE001 - a history that a decider cannot bear must not stop the others
            return state, f"revision {recorded.revision}, {recorded.type}: not applicable: {error!r}"[:200]


def read_metadata(recorded: RecordedEvent) -> Document:
    """The metadata object of an event; empty where it is not a JSON object."""
    try:
        metadata = orjson.loads(recorded.metadata)
    except ValueError:
        return {}
    return cast("Document", metadata) if isinstance(metadata, dict) else {}


def outcome_of(events: Sequence[RecordedEvent]) -> Outcome:
    """The outcome of an accepted command, rebuilt from all the events that it caused, in order."""
    first, last = events[0], events[-1]
    metadata = read_metadata(first)
    return Outcome(
        code=accepted_code(first.revision),
        digest=bytes.fromhex(str(metadata["command_digest"])),
        received_at=datetime.fromisoformat(str(metadata["received_at"])),
        revision=last.revision,
        position=last.position,
        events=tuple(EventRef(event.id, event.type, event.revision) for event in events),
        persisted_at=last.recorded_at,
    )


def follows(event: RecordedEvent, events: Sequence[RecordedEvent]) -> bool:
    """Whether it is the next event of the command that caused these: they stand side by side, as their ids prove."""
    metadata = read_metadata(events[0])
    actor, command_id = str(metadata.get("actor")), str(metadata.get("command_id"))
    return event.id == event_id(actor, _device_of(events[0]), command_id, len(events))


def verdict_of(events: Sequence[RecordedEvent], command_id: str | None = None) -> Verdict | None:
    """The verdict on the command that caused these events.

    Args:
        events: all that stand side by side as its own.
        command_id: of the command; by default the one that the first event names.

    Returns:
        The verdict; ``None`` if this command did not cause the first of them.
    """
    first = events[0]
    metadata, device = read_metadata(first), _device_of(first)
    actor = str(metadata.get("actor"))
    if command_id is None:
        command_id = str(metadata.get("command_id"))
    # of a command's events, the first one carries its key; others with a like id may be another command's
    if first.id != event_id(actor, device, command_id, 0):
        return None
    return Verdict(first.id, command_id, actor, device, str(metadata.get("command")), outcome_of(events))


def command_key(event: RecordedEvent) -> UUID:
    """The key of the command that caused an event; of an event that no command caused, one that nothing has."""
    metadata = read_metadata(event)
    return event_id(str(metadata.get("actor")), _device_of(event), str(metadata.get("command_id")), 0)


def _device_of(event: RecordedEvent) -> str:
    """A stream is named by category and device, and a category has no dash."""
    return event.stream.partition("-")[2]


def accepted_code(first_revision: int) -> int:
    """201 for the first event of a device, 200 for any other."""
    return CREATED if first_revision == 0 else APPLIED


class StateCodec:
    """Writes the states of one kind of aggregate as JSON, for snapshots and for the read cache."""

    @staticmethod
    def of(decider: Decider[Any]) -> "StateCodec":
        """The codec for this decider's states; built once for each type."""
        codec = _STATE_CODECS.get(decider.state_type)
        if codec is None:
            codec = _STATE_CODECS[decider.state_type] = StateCodec(decider.state_type)
        return codec

    def __init__(self, state_type: type[Any]) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(state_type)
        self._serializer = self._adapter.serializer

    def to_json(self, state: object) -> bytes:
        """The state as JSON."""
        return self._serializer.to_json(state)

    def from_json(self, data: bytes) -> Any:  # noqa: ANN401 - the decider's own state type
        """The state that :meth:`to_json` wrote.

        Raises:
            ValidationError: it was written by another version of the state.
        """
        return self._adapter.validate_json(data)

    def to_document(self, state: object) -> Document:
        """The state as a JSON object."""
        return cast("Document", self._adapter.dump_python(state, mode="json"))

    def from_document(self, document: Document) -> Any:  # noqa: ANN401 - the decider's own state type
        """The state that :meth:`to_document` gave; other fields of the document are passed over.

        Raises:
            ValidationError: it was written by another version of the state.
        """
        return self._adapter.validate_python(document)


_STATE_CODECS: dict[type[Any], StateCodec] = {}
