"""Snapshots of aggregates in the gateway's own database, wherever the events are."""

from uuid import UUID

from gateway.adapters.sqlite import Database
from gateway.messages import Snapshot


class SqliteSnapshots:
    """Snapshots in the gateway's own database; see :class:`~gateway.ports.Snapshots`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_snapshot(self, stream: str) -> Snapshot | None:
        """The newest snapshot of a stream, where there is one.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        row = await self._database.reader.call(
            lambda connection: connection.execute(
                "SELECT revision, event_id, state FROM snapshots WHERE stream = ?", (stream,)
            ).fetchone()
        )
        if row is None:
            return None
        revision, event_id, state = row
        return Snapshot(revision, UUID(bytes=event_id), state)

    async def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        """Keep a snapshot in place of the older one.

        Raises:
            StoreUnavailable: the disk does not let it.
        """
        row = (stream, snapshot.revision, snapshot.event_id.bytes, snapshot.state)
        await self._database.writer.change("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)", [row])
