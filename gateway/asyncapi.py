"""The protocol as an AsyncAPI 3.0 document, out of the models that read commands and queries. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from gateway import __version__
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Event
from gateway.intake import Envelope
from gateway.queries.parameters import Parameters

Object = dict[str, Any]

ROOT: Final = "edge/gw1"

_ACTOR: Final = "Who sends, as the broker has authenticated him; a device sends under its own name"
_LEVELS: Final = {"actor": _ACTOR, "device": "Id of the device", "query": "Name of the query"}
_JSON: Final = "application/json"
_CLOUD_EVENT: Final = "application/cloudevents+json"
_TEXT: Final[Object] = {"type": "string"}
_TIME: Final[Object] = {"type": "string", "format": "date-time"}
_NUMBER: Final[Object] = {"type": "integer"}
_FLAG: Final[Object] = {"type": "boolean"}
_STATUS: Final[Object] = {"enum": ["accepted", "deferred", "rejected"]}
_ERROR: Final[Object] = {
    "type": "object",
    "required": ["type", "message"],
    "properties": {"type": _TEXT, "message": _TEXT, "field": _TEXT, "value": {}},
}
_TOLD: Final[Mapping[str, tuple[str, str, bool, Object]]] = {
    "ack": (
        "ack/{actor}/{device}",
        "What became of a command",
        False,
        {
            "command_id": _TEXT,
            "device": _TEXT,
            "command": _TEXT,
            "actor": _TEXT,
            "status": _STATUS,
            "code": _NUMBER,
            "duplicate": _FLAG,
            "revision": {"type": ["integer", "null"]},
            "position": {"type": ["integer", "null"]},
            "events": {"type": "array", "items": {"type": "object"}},
            "received_at": _TIME,
            "gateway": _TEXT,
            "epoch": _NUMBER,
        },
    ),
    "answer": (
        "answer/{actor}/{query}",
        "What a query is answered with: a result, or an error",
        False,
        {
            "query": _TEXT,
            "actor": _TEXT,
            "position": _NUMBER,
            "as_of": _TIME,
            "stale": _FLAG,
            "status": _STATUS,
            "code": _NUMBER,
        },
    ),
    "state": ("state/{device}", "The device's document", True, {"id": _TEXT, "revision": _NUMBER, "position": _NUMBER}),
    "config": (
        "config/{device}",
        "What the device shall apply",
        True,
        {"version": _NUMBER, "properties": {"type": "object"}},
    ),
    "status": (
        "gateway/status",
        "Whether the gateway is there; also its will",
        True,
        {"state": {"enum": ["online", "offline"]}, "epoch": _NUMBER, "since": _TIME},
    ),
    "info": ("gateway/info", "What this gateway takes", True, {"gateway": _TEXT, "version": _TEXT}),
    "health": (
        "gateway/health",
        "Figures, and what is out of order",
        True,
        {"at": _TIME, "counters": {"type": "object"}},
    ),
    "deadletter": (
        "deadletter",
        "What could not be parsed",
        False,
        {"reason": _TEXT, "message": _TEXT, "at": _TIME, "topic": _TEXT, "size": _NUMBER},
    ),
}
"""What the gateway tells: address, summary, whether it is retained, and the fields that are always there."""

_REPLIES: Final = {"command": "ack", "query": "answer"}


def describe(catalogue: Catalogue, queries: Mapping[str, type[Parameters]], root: str = ROOT) -> Object:
    """The document: what can be sent and asked, and what is told, on which topic.

    Args:
        catalogue: whose commands and events.
        queries: what each query takes, by its name.
        root: of all topics.
    """
    schemas: dict[str, Object] = {}
    channels = dict(_channels(catalogue, queries, schemas, root))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "edge-gateway",
            "version": __version__,
            "description": "Commands and queries over MQTT. An acknowledgement means durable.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": _JSON,
        "servers": {"broker": {"host": "localhost:1883", "protocol": "mqtt", "protocolVersion": "5.0"}},
        "channels": channels,
        "operations": dict(_operation(name) for name in channels),
        "components": {"schemas": schemas},
    }


def schemas_of(catalogue: Catalogue, queries: Mapping[str, type[Parameters]]) -> dict[str, Object]:
    """The JSON Schema of everything that can be sent or asked, and of every event, each for itself."""
    models: list[tuple[str, type[BaseModel]]] = [("envelope", Envelope)]
    for decider in catalogue:
        models += [(f"command.{command.name}", command) for command in decider.commands if command.issuers]
        models += [(f"event.{event.__name__}", event) for event in decider.events]
    models += [(f"query.{name}", parameters) for name, parameters in queries.items()]
    return {name: model.model_json_schema() for name, model in models}


def _channels(
    catalogue: Catalogue, queries: Mapping[str, type[Parameters]], schemas: dict[str, Object], root: str
) -> Iterator[tuple[str, Object]]:
    for decider in catalogue:
        for command in decider.commands:
            if command.issuers:
                data: Object = {"properties": {"data": _schema_of(command, schemas)}}
                payload: Object = {"allOf": [_schema_of(Envelope, schemas), data]}
                address = f"{root}/cmd/{{actor}}/{{device}}/{command.name}"
                yield f"command.{command.name}", _channel(address, command.__name__, _summary(command), payload)
    for name, parameters in queries.items():
        address, payload = f"{root}/query/{{actor}}/{name}", _schema_of(parameters, schemas)
        yield f"query.{name}", _channel(address, parameters.__name__, _summary(parameters), payload)
    for decider in catalogue:
        for event in decider.events:
            address, payload = f"{root}/event/{{device}}/{event.__name__}", _cloud_event(event, schemas)
            channel = _channel(address, event.__name__, _summary(event), payload, _CLOUD_EVENT)
            yield f"event.{event.__name__}", channel
    for name, (below, summary, _, fields) in _TOLD.items():
        properties = {**fields, "error": _ERROR} if name in _REPLIES.values() else fields
        # a device that was never told anything has an empty configuration
        always = sorted(fields) if name != "config" else []
        payload = {"type": "object", "required": always, "properties": properties}
        yield name, _channel(f"{root}/{below}", name.capitalize(), summary, payload)


def _channel(address: str, name: str, summary: str, payload: Object, content_type: str = _JSON) -> Object:
    levels = {level: {"description": text} for level, text in _LEVELS.items() if f"{{{level}}}" in address}
    message = {"name": name, "summary": summary, "contentType": content_type, "payload": payload}
    return {"address": address, "messages": {name: message}, **({"parameters": levels} if levels else {})}


def _operation(channel: str) -> tuple[str, Object]:
    """From the gateway's side: it receives commands and queries, and sends all else."""
    kind = channel.partition(".")[0]
    action = "receive" if kind in _REPLIES else "send"
    retained = channel in _TOLD and _TOLD[channel][2]
    operation: Object = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "bindings": {"mqtt": {"qos": 1, "retain": retained, "bindingVersion": "0.2.0"}},
    }
    if kind in _REPLIES:
        operation["reply"] = {"channel": {"$ref": f"#/channels/{_REPLIES[kind]}"}}
    return f"{action}.{channel}", operation


def _schema_of(model: type[BaseModel], schemas: dict[str, Object]) -> Object:
    """A reference to the schema of a model, which is put among the others."""
    if model.__name__ not in schemas:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _cloud_event(event: type[Event], schemas: dict[str, Object]) -> Object:
    texts = dict.fromkeys(("specversion", "id", "source", "type", "subject", "revision", "position"), _TEXT)
    return {
        "type": "object",
        "required": [*texts, "time", "data"],
        "properties": {**texts, "time": _TIME, "data": _schema_of(event, schemas)},
    }


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").partition("\n")[0]
