"""What an earlier run left behind in the state directory."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from gateway.adapters.clock import SystemClock
from gateway.adapters.sqlite import Database
from gateway.adapters.sqlite_identity import SqliteCursors, SqliteIdentity
from gateway.adapters.sqlite_inbox import SqliteInbox
from gateway.adapters.tinydb_cache import CACHE_FILE, ReadCache, open_cache
from gateway.parking import Parking, ParkingLimits
from gateway.settings import Settings
from gateway.storage import Storage

SESSION: Final = "mqtt_session"
"""The cursor that stands once the broker has had a session of ours."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the gateway begins with.

    Attributes:
        client_id: under which the broker keeps the session.
        had_session: whether the broker should know one.
        last_alive: when the earlier run gave its last sign of life.
        crashed: whether it ended without closing its database.
    """

    cache: ReadCache
    parking: Parking
    client_id: str
    had_session: bool
    last_alive: datetime | None
    crashed: bool


async def find(
    settings: Settings, database: Database, storage: Storage, state_dir: Path, last_alive: datetime | None
) -> Found:
    """Take up what the state directory holds.

    Raises:
        StoreUnavailable: the disk does not let it read.
    """
    limits = settings.limits
    inbox = SqliteInbox(database, limits.disk_reserve)
    parking = Parking(inbox, storage.store, SystemClock(), ParkingLimits(limits.parked, limits.parked_per_actor))
    await parking.load()
    return Found(
        cache=await asyncio.to_thread(open_cache, state_dir / CACHE_FILE),
        parking=parking,
        client_id=await SqliteIdentity(database).client_id(settings.gateway.id),
        had_session=await SqliteCursors(database).load_cursor(SESSION) is not None,
        last_alive=last_alive,
        crashed=database.crashed,
    )
