"""An answer becomes an acknowledgement: its topic, its JSON and its MQTT properties. Pure."""

from typing import Any

import orjson

from gateway.codes import status_of
from gateway.messages import Answer, ErrorDetail, EventRef, MessageProperties, Outcome, ReplyTo, Request, Verdict
from gateway.records import replace


def acknowledgement(
    request: Request, answer: Answer, *, gateway: str, epoch: int
) -> tuple[str, bytes, MessageProperties]:
    """Topic, payload and properties of the acknowledgement of one copy of a command."""
    outcome = answer.outcome
    body: dict[str, Any] = {
        "command_id": request.command_id,
        "device": request.device,
        "command": request.name,
        "actor": request.actor,
        **outcome_body(outcome),
        "duplicate": answer.duplicate,
        "dedupe": "stored" if request.sender_gave_id else "none",
        "gateway": gateway,
        "epoch": epoch,
    }
    if request.dry_run:
        body["dry_run"] = True
    if outcome.retry_after_ms is not None:
        body["retry_after_ms"] = outcome.retry_after_ms
    properties = reply_properties(request.reply, outcome.code)
    if request.traceparent is not None:
        # of this copy: an answer belongs to the trace in which it was asked for
        properties = replace(properties, user=(*properties.user, ("traceparent", request.traceparent)))
    return request.reply.topic, orjson.dumps(body, option=orjson.OPT_UTC_Z), properties


def reply_properties(reply: ReplyTo, code: int) -> MessageProperties:
    """The MQTT properties of an answer with this code."""
    return MessageProperties(
        correlation_data=reply.correlation,
        content_type="application/json",
        user=(("status", status_of(code)), ("code", str(code))),
    )


def verdict_body(verdict: Verdict) -> dict[str, Any]:
    """A verdict in the words of an acknowledgement; times and ids as they are."""
    return {
        "command_id": verdict.command_id,
        "device": verdict.device,
        "command": verdict.command,
        "actor": verdict.actor,
        **outcome_body(verdict.outcome),
    }


def outcome_body(outcome: Outcome) -> dict[str, Any]:
    """An outcome in the words of an acknowledgement; times and ids as they are."""
    body: dict[str, Any] = {
        "status": status_of(outcome.code),
        "code": outcome.code,
        "revision": outcome.revision,
        "position": outcome.position,
        "events": [_event(event) for event in outcome.events],
        "received_at": outcome.received_at,
        "persisted_at": outcome.persisted_at,
    }
    if outcome.error is not None:
        body["error"] = error_body(outcome.error)
    return body


def _event(event: EventRef) -> dict[str, Any]:
    told: dict[str, Any] = {"id": event.id, "type": event.type, "revision": event.revision}
    if event.data is not None:
        told["data"] = event.data
    return told


def error_body(error: ErrorDetail) -> dict[str, Any]:
    """Why something was refused, as the sender is told."""
    told: dict[str, Any] = {"type": error.type, "message": error.message}
    if error.field is not None:
        told |= {"field": error.field, "value": error.value}
    return told
