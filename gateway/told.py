"""What the gateway tells: on which topics, and with which fields, as JSON Schemas. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter

from gateway.domain.catalogue import Catalogue

Object = dict[str, Any]

TEXT: Final[Object] = {"type": "string"}
TIME: Final[Object] = {"type": "string", "format": "date-time"}
_NUMBER: Final[Object] = {"type": "integer"}
_FLAG: Final[Object] = {"type": "boolean"}
_ANY: Final[Object] = {"type": "object"}
_STATUS: Final[Object] = {"enum": ["accepted", "deferred", "rejected"]}


def _object(always: Mapping[str, Object], sometimes: Mapping[str, Object] | None = None) -> Object:
    """An object that has the one fields always, and the others where there is something to say."""
    return {"type": "object", "required": sorted(always), "properties": {**always, **(sometimes or {})}}


def _or_null(schema: Object) -> Object:
    return {"anyOf": [schema, {"type": "null"}]}


def _each(schema: Object) -> Object:
    """An object of any keys."""
    return {"type": "object", "additionalProperties": schema}


_ERROR: Final = _object({"type": TEXT, "message": TEXT}, {"field": TEXT, "value": {}})
_EVENT: Final = _object({"id": TEXT, "type": TEXT, "revision": _NUMBER}, {"data": {}})
_OUTAGE: Final = _object({"kind": TEXT, "began_at": TIME, "ended_at": _or_null(TIME), "affected": TEXT})
_REFUSED: Final[Object] = {"error": _ERROR, "retry_after_ms": _NUMBER}


@dataclass(frozen=True, slots=True)
class Told:
    """One kind of message.

    Attributes:
        below: its topic, below the root.
        summary: what it tells.
        always, sometimes: its fields; the other ones where there is something to say.
    """

    below: str
    summary: str
    always: Mapping[str, Object]
    sometimes: Mapping[str, Object] = field(default_factory=dict)
    is_retained: bool = True

    @property
    def schema(self) -> Object:
        """Of its payload."""
        return _object(self.always, self.sometimes)


TOLD: Final[Mapping[str, Told]] = {
    "ack": Told(
        "ack/{actor}/{device}",
        "What became of a command",
        {
            "command_id": TEXT,
            "device": TEXT,
            "command": TEXT,
            "actor": TEXT,
            "status": _STATUS,
            "code": _NUMBER,
            "duplicate": _FLAG,
            "dedupe": {"enum": ["stored", "none"]},
            "revision": _or_null(_NUMBER),
            "position": _or_null(_NUMBER),
            "events": {"type": "array", "items": _EVENT},
            "received_at": TIME,
            "persisted_at": _or_null(TIME),
            "gateway": TEXT,
            "epoch": _NUMBER,
        },
        {**_REFUSED, "dry_run": {"const": True}},
        is_retained=False,
    ),
    "answer": Told(
        "answer/{actor}/{query}",
        "What a query is answered with: a result, or an error",
        {
            "query": TEXT,
            "actor": TEXT,
            "position": _NUMBER,
            "as_of": TIME,
            "stale": _FLAG,
            "status": _STATUS,
            "code": _NUMBER,
        },
        {"result": {}, "next": _ANY, **_REFUSED},
        is_retained=False,
    ),
    "config": Told(
        "config/{device}",
        "What the device shall apply; empty where nothing is desired of it",
        {"version": _NUMBER, "properties": _ANY},
    ),
    "status": Told(
        "gateway/status",
        "Whether the gateway is there; also its will",
        {"state": {"enum": ["online", "offline"]}, "epoch": _NUMBER, "since": TIME},
    ),
    "info": Told(
        "gateway/info",
        "What this gateway takes",
        {
            "gateway": TEXT,
            "version": TEXT,
            "commands": _each(
                _object(
                    {
                        "category": TEXT,
                        "issued_by": {"type": "array", "items": TEXT},
                        "causes": {"type": "array", "items": TEXT},
                        "schema": _ANY,
                    }
                )
            ),
            "codes": _each(_object({"status": _STATUS, "meaning": TEXT, "send_again": _FLAG})),
            "events": _each({"type": "array", "items": TEXT}),
        },
    ),
    "health": Told(
        "gateway/health",
        "Figures, and what is out of order",
        {
            "at": TIME,
            "since": TIME,
            "gateway": TEXT,
            "version": TEXT,
            "epoch": _NUMBER,
            "broker": _object({"connected": _FLAG, "dropped": _or_null(_NUMBER)}),
            "in_flight": _NUMBER,
            "event_store": _object(
                {"kind": {"enum": ["embedded", "eventstoredb"]}, "head": _NUMBER, "available": _FLAG},
                {"following": _FLAG, "away_since": TIME, "reason": TEXT},
            ),
            "parked": _object({"commands": _NUMBER, "devices": _NUMBER}),
            "read_cache": _object({"position": _NUMBER, "lag": _NUMBER, "rebuilding": _FLAG}, {"projections": _ANY}),
            "feed": _object({"position": _NUMBER, "lag": _NUMBER}),
            "retained": _object({"waiting": _NUMBER}),
            "outages": _object(
                {"open": _each(TIME), "unacknowledged": _each(_OUTAGE), "unacknowledged_older": _NUMBER}
            ),
            "counters": _each(_NUMBER),
        },
    ),
    "deadletter": Told(
        "deadletter",
        "What could not be parsed",
        {"reason": TEXT, "message": TEXT, "at": TIME, "topic": TEXT, "size": _NUMBER, "truncated": _FLAG},
        {"payload": TEXT, "payload_base64": TEXT},
        is_retained=False,
    ),
}
"""By the name of the channel; a device's document, which each aggregate has its own of, is :func:`documents`."""

STATE: Final = Told(
    "state/{device}",
    "The device's document",
    {"id": TEXT, "revision": _NUMBER, "position": _NUMBER, "updated_at": TIME, "degraded": _FLAG},
)
"""What every document has beside the state."""


def documents(catalogue: Catalogue, ref_template: str) -> tuple[Object, dict[str, Object]]:
    """The schema of a document, and those that it refers to by name, out of the states of the aggregates."""
    shared: dict[str, Object] = {}
    kinds: list[Object] = []
    for decider in catalogue:
        adapter: TypeAdapter[Any] = TypeAdapter(decider.state_type)
        state = adapter.json_schema(mode="serialization", ref_template=ref_template)
        shared |= state.pop("$defs", {})
        own = STATE.schema
        properties = {**own["properties"], **state.get("properties", {})}
        required = sorted({*own["required"], *state.get("required", ())})
        kinds.append({"title": decider.category, "type": "object", "required": required, "properties": properties})
    return {"anyOf": kinds}, shared
