"""The protocol as an AsyncAPI 3.0 document, out of the models that read commands and queries. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import BaseModel

from gateway import __version__
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Event
from gateway.intake import Envelope
from gateway.queries.parameters import Parameters
from gateway.told import STATE, TEXT, TIME, TOLD, Object, documents

ROOT: Final = "edge/gw1"

_ACTOR: Final = "Who sends, as the broker has authenticated him; a device sends under its own name"
_LEVELS: Final = {"actor": _ACTOR, "device": "Id of the device", "query": "Name of the query"}
_JSON: Final = "application/json"
_CLOUD_EVENT: Final = "application/cloudevents+json"
_REFERENCE: Final = "#/components/schemas/{model}"
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
    document, shared = documents(catalogue, _REFERENCE)
    schemas.update(shared)
    for name, told in {**TOLD, "state": STATE}.items():
        payload = document if name == "state" else told.schema
        yield name, _channel(f"{root}/{told.below}", name.capitalize(), told.summary, payload)


def _channel(address: str, name: str, summary: str, payload: Object, content_type: str = _JSON) -> Object:
    levels = {level: {"description": text} for level, text in _LEVELS.items() if f"{{{level}}}" in address}
    message = {"name": name, "summary": summary, "contentType": content_type, "payload": payload}
    return {"address": address, "messages": {name: message}, **({"parameters": levels} if levels else {})}


def _operation(channel: str) -> tuple[str, Object]:
    """From the gateway's side: it receives commands and queries, and sends all else."""
    kind = channel.partition(".")[0]
    action = "receive" if kind in _REPLIES else "send"
    retained = channel == "state" or (channel in TOLD and TOLD[channel].is_retained)
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
        schema = model.model_json_schema(ref_template=_REFERENCE)
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _cloud_event(event: type[Event], schemas: dict[str, Object]) -> Object:
    texts = dict.fromkeys(("specversion", "id", "source", "type", "subject", "revision", "position"), TEXT)
    return {
        "type": "object",
        "required": [*texts, "time", "data"],
        "properties": {**texts, "time": TIME, "data": _schema_of(event, schemas)},
    }


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").partition("\n")[0]
