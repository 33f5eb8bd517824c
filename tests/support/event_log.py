"""The event log, read by SQL alone: shares no code with the gateway, so that it can judge it."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

_EVENTS: Final = """
    SELECT position, name, revision, event_id, type, data, metadata
    FROM events JOIN streams ON streams.id = events.stream ORDER BY position
"""


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One row of the log."""

    position: int
    stream: str
    revision: int
    id: str
    type: str
    data: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def device(self) -> str:
        return self.stream.removeprefix("device-")

    @property
    def command(self) -> tuple[str, str, str]:
        """The command that caused it: actor, device and command id."""
        return self.metadata["actor"], self.device, self.metadata["command_id"]


def read_log(database: Path) -> Sequence[LoggedEvent]:
    """Every event, in the order of positions."""
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(_EVENTS).fetchall()
    return [
        LoggedEvent(position, stream, revision, str(UUID(bytes=id_)), type_, json.loads(data), json.loads(metadata))
        for position, stream, revision, id_, type_, data, metadata in rows
    ]
