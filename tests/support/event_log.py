"""The event log, read by SQL or by the store's own client: shares no code with the gateway, so that it can judge it."""

import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
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
        """Or the gateway, in its own stream."""
        return self.stream.partition("-")[2]

    @property
    def is_of_gateway(self) -> bool:
        """Whether it tells of the gateway itself."""
        return self.stream.startswith("gateway-")

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


def read_remote_log(url: str, prefix: str) -> Sequence[LoggedEvent]:
    """Every event of the devices in an EventStoreDB, in the order of positions."""
    client: Any = _client(url)
    try:
        with client.read_all(
            filter_include=f"{re.escape(prefix)}(device|gateway)-.*", filter_by_stream_name=True
        ) as events:
            return [
                LoggedEvent(
                    event.commit_position,
                    event.stream_name.removeprefix(prefix),
                    event.stream_position,
                    str(event.id),
                    event.type,
                    json.loads(event.data),
                    json.loads(event.metadata),
                )
                for event in events
            ]
    finally:
        client.close()


def _client(url: str) -> object:
    # whichever of the two is installed
    if find_spec("kurrentdbclient"):
        return import_module("kurrentdbclient").KurrentDBClient(url)
    return import_module("esdbclient").EventStoreDBClient(url)
