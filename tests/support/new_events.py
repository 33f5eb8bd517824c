"""Events as a command would cause them, ready for a store."""

from datetime import UTC, datetime
from uuid import UUID

import orjson

from gateway.ids import event_id, new_id
from gateway.messages import NewEvent

RECEIVED_AT = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
DIGEST = bytes(range(16))


def new_event(id: str | UUID | None = None, type: str = "Counted") -> NewEvent:
    return NewEvent(UUID(str(id or new_id())), type, b'{"by":1}', b'{"v":1}')


def new_events(count: int) -> list[NewEvent]:
    return [new_event() for _ in range(count)]


def events_of_command(
    command_id: str, *, actor: str = "alice", device: str = "pump-7", count: int = 1, command: str = "configure"
) -> list[NewEvent]:
    metadata = {
        "command_id": command_id,
        "command": command,
        "command_digest": DIGEST.hex(),
        "actor": actor,
        "received_at": RECEIVED_AT.isoformat(),
        "v": 1,
    }
    return [
        NewEvent(event_id(actor, device, command_id, index), f"Type{index}", b"{}", orjson.dumps(metadata))
        for index in range(count)
    ]
