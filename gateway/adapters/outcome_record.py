"""Outcomes to bytes and back, exactly.

JSON by pydantic-core, not orjson: a refusal quotes the offending value, which may be an integer of any size.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import from_json, to_json

from gateway.messages import ErrorDetail, EventRef, Outcome


def encode_outcome(outcome: Outcome) -> bytes:
    """The outcome as JSON; what it does not say is left out."""
    error = outcome.error
    document = {
        "code": outcome.code,
        "digest": outcome.digest.hex(),
        "received_at": outcome.received_at.isoformat(),
        "revision": outcome.revision,
        "position": outcome.position,
        "events": [(event.id.hex, event.type, event.revision, event.data) for event in outcome.events] or None,
        "error": error and (error.type, error.message, error.field, error.value),
        "persisted_at": outcome.persisted_at and outcome.persisted_at.isoformat(),
        "retry_after_ms": outcome.retry_after_ms,
        "premise": outcome.premise and outcome.premise.hex,
    }
    return to_json({name: value for name, value in document.items() if value is not None})


def decode_outcome(record: bytes) -> Outcome:
    """The outcome that :func:`encode_outcome` wrote."""
    document: dict[str, Any] = from_json(record)
    error, persisted_at, premise = document.get("error"), document.get("persisted_at"), document.get("premise")
    return Outcome(
        code=document["code"],
        digest=bytes.fromhex(document["digest"]),
        received_at=datetime.fromisoformat(document["received_at"]),
        revision=document.get("revision"),
        position=document.get("position"),
        events=tuple(EventRef(UUID(id), *others) for id, *others in document.get("events", ())),
        error=error and ErrorDetail(*error),
        persisted_at=persisted_at and datetime.fromisoformat(persisted_at),
        retry_after_ms=document.get("retry_after_ms"),
        premise=premise and UUID(premise),
    )
