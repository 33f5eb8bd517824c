"""A state directory as a gateway leaves it, without a gateway."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.adapters.sqlite import DATABASE_FILE, open_database
from gateway.adapters.sqlite_log import SqliteLog
from gateway.adapters.sqlite_outcomes import SqliteOutcomes
from gateway.adapters.tinydb_cache import CACHE_FILE, ReadCache
from gateway.codec import EventCodec
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Event
from gateway.ids import event_id
from gateway.messages import NewEvent, ReplyTo, Request, Verdict
from gateway.projection import Projection

AT: Final = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)


class GatewayState:
    """What a gateway has on disk; nothing is open between two calls.

    Attributes:
        config: a settings file that names the directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "state"
        self.directory.mkdir()
        self.config = directory / "gateway.toml"
        self.config.write_text(f'[gateway]\nstate_dir = "{self.directory}"\n')
        self._codec = EventCodec(Catalogue(DECIDERS))
        self.take()

    @property
    def cache(self) -> Path:
        return self.directory / CACHE_FILE

    def take(self, *events: Event, device: str = "pump-7", command_id: str = "c-1", actor: str = "alice") -> None:
        """The events of one command come into the log."""
        encoded = self._codec.encode(events, _request(device, command_id, actor), "gw1")
        asyncio.run(self._append(device, encoded))

    def take_foreign(self, event: NewEvent, device: str = "pump-7") -> None:
        """An event that the gateway cannot read comes into the log."""
        asyncio.run(self._append(device, [event]))

    def remember(self, verdict: Verdict) -> None:
        """A verdict is kept that left no events."""
        asyncio.run(self._remember(verdict))

    def flush(self) -> None:
        """The read cache is written, as of the newest event."""
        asyncio.run(self._flush())

    async def _append(self, device: str, events: Sequence[NewEvent]) -> None:
        async with open_database(self.directory / DATABASE_FILE) as database:
            log = SqliteLog(database)
            stream = f"device-{device}"
            if events:
                await log.append(stream, len(await log.read_stream(stream)) - 1, events)

    async def _remember(self, verdict: Verdict) -> None:
        async with open_database(self.directory / DATABASE_FILE) as database:
            await SqliteOutcomes(database).remember([verdict])

    async def _flush(self) -> None:
        async with open_database(self.directory / DATABASE_FILE) as database:
            log = SqliteLog(database)
            cache = ReadCache(self.cache, await log.identify())
            Projection(cache, Catalogue(DECIDERS), self._codec).apply(await log.read_all(after=0))
            await cache.flush()


def _request(device: str, command_id: str, actor: str) -> Request:
    return Request(
        key=event_id(actor, device, command_id, 0),
        command_id=command_id,
        sender_gave_id=True,
        actor=actor,
        device=device,
        name="configure",
        role=None,
        command=None,
        decider=None,
        refusal=None,
        digest=bytes(16),
        received_at=AT,
        reply=ReplyTo("ack"),
    )
