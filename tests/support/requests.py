"""A request that tests vary with ``dataclasses.replace``."""

from datetime import UTC, datetime
from uuid import UUID

from gateway.messages import ReplyTo, Request

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REQUEST = Request(
    key=UUID(int=1),
    command_id="c-1",
    sender_gave_id=True,
    actor="alice",
    device="pump-7",
    name="configure",
    role=None,
    command=None,
    decider=None,
    refusal=None,
    digest=b"\0" * 16,
    received_at=NOW,
    reply=ReplyTo("edge/gw1/ack/alice/pump-7", b"\xff\0"),
)
