"""Outages in the gateway's own database, until they are in the log."""

from collections.abc import Sequence
from dataclasses import astuple
from datetime import datetime

from gateway.adapters.sqlite import Database
from gateway.adapters.sqlite_reader import SqliteReader
from gateway.messages import PendingOutage


class SqlitePendingOutages:
    """Pending outages in the gateway's own database; see :class:`~gateway.ports.PendingOutages`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> Sequence[PendingOutage]:
        """All of them, oldest first.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        return await self._database.reader.call(lambda connection: SqliteReader(connection).pending_outages())

    async def keep(self, outage: PendingOutage) -> None:
        """Keep an outage in place of what was kept under its id; durable on return.

        Raises:
            StoreUnavailable: the disk does not let it.
        """
        row = [value.isoformat() if isinstance(value, datetime) else value for value in astuple(outage)]
        await self._database.writer.change("INSERT OR REPLACE INTO pending_outages VALUES (?,?,?,?,?,?,?)", [row])

    async def remove(self, id: str) -> None:
        """Forget one that is in the log.

        Raises:
            StoreUnavailable: the disk does not let it.
        """
        await self._database.writer.change("DELETE FROM pending_outages WHERE id = ?", [(id,)])
