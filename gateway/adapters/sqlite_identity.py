"""Who this gateway is to its broker, and how far its readers have come: a few small values that must survive."""

import asyncio
import secrets
import sqlite3
from typing import Final, cast

from gateway.adapters.sqlite import Database

EPOCHS_RESERVED: Final = 64
"""How many epochs one write reserves; a restart skips what is left of them."""


class SqliteCursors:
    """Cursors in the gateway's own database; see :class:`~gateway.ports.Cursors`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_cursor(self, name: str) -> int | None:
        """The position last saved under this name.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        row = await self._database.reader.call(
            lambda connection: connection.execute("SELECT position FROM cursors WHERE name = ?", (name,)).fetchone()
        )
        return row and cast("int", row[0])

    async def save_cursor(self, name: str, position: int) -> None:
        """Keep a position; durable on return.

        Raises:
            StoreUnavailable: the disk does not let it.
        """
        await self._database.writer.change("INSERT OR REPLACE INTO cursors VALUES (?, ?)", [(name, position)])


class SqliteIdentity:
    """The gateway as its broker knows it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reserving = asyncio.Lock()
        self._epoch = 0
        self._reserved = 0

    async def client_id(self, gateway: str) -> str:
        """The MQTT client id of the gateway with this id: made once, unguessable, as the broker's session hangs on it.

        Raises:
            StoreUnavailable: the disk does not let it.
        """
        return await self._database.writer.call(lambda connection: _client_id(connection, gateway))

    async def next_epoch(self) -> int:
        """A number above every one given before, for ever.

        Raises:
            StoreUnavailable: new ones had to be reserved, and the disk does not let it.
        """
        async with self._reserving:
            if self._epoch == self._reserved:
                reserved = await self._database.writer.call(_reserve_epochs)
                self._epoch, self._reserved = reserved - EPOCHS_RESERVED, reserved
            self._epoch += 1
            return self._epoch


def _client_id(connection: sqlite3.Connection, gateway: str) -> str:
    name = f"client_id {gateway}"
    made = f"edge-{gateway}-{secrets.token_hex(16)}"
    connection.execute("INSERT OR IGNORE INTO identity VALUES (?, ?)", (name, made))
    (client_id,) = connection.execute("SELECT value FROM identity WHERE name = ?", (name,)).fetchone()
    return cast("str", client_id)


def _reserve_epochs(connection: sqlite3.Connection) -> int:
    (reserved,) = connection.execute(
        "UPDATE identity SET value = value + ? WHERE name = 'epoch' RETURNING value", (EPOCHS_RESERVED,)
    ).fetchone()
    return cast("int", reserved)
