"""The memory of what became of every command: the log for what was accepted, a table of its own for the rest."""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from gateway.adapters.outcome_record import decode_outcome, encode_outcome
from gateway.adapters.sqlite import Database
from gateway.adapters.sqlite_reader import SqliteReader, to_microseconds
from gateway.adapters.sqlite_worker import Work
from gateway.codec import outcome_of
from gateway.messages import Outcome, RecordedEvent, Verdict

PRUNED_AT_ONCE: Final = 500
"""How many outcomes are forgotten in one transaction, so that no append waits long behind them."""

Found = Mapping[UUID, bytes | Sequence[RecordedEvent]]
"""By key: the record of a remembered outcome, or the events of the command."""


def _find_together(connection: sqlite3.Connection, asked: Sequence[Sequence[UUID]]) -> list[Found]:
    found = SqliteReader(connection).find([key for keys in asked for key in keys])
    return [{key: found[key] for key in keys if key in found} for keys in asked]


_FIND: Final = Work(_find_together)


def outcomes_in(found: Found) -> Mapping[UUID, Outcome]:
    """The outcomes that were found."""
    return {
        key: decode_outcome(known) if isinstance(known, bytes) else outcome_of(known) for key, known in found.items()
    }


class SqliteOutcomes:
    """Outcomes in the gateway's own database; see :class:`~gateway.ports.Outcomes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:  # noqa: ARG002 - everything is indexed as it is written
        """The outcomes of those of these commands that are known, accepted and refused alike.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        return outcomes_in(await self.ask(keys))

    def ask(self, keys: Sequence[UUID]) -> "asyncio.Future[Found]":
        """What :func:`outcomes_in` makes outcomes of, for those who ask for something else meanwhile.

        Raises:
            StoreUnavailable: the database is closed. The future fails with it if the disk does not let it read.
        """
        return self._database.reader.submit(_FIND, keys)

    async def find_by_command_id(self, command_id: str, *, limit: int = 100) -> Sequence[Verdict]:
        """The verdicts on the commands that carry this id; see :meth:`SqliteReader.find_by_command_id`.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        return await self._database.reader.call(
            lambda connection: SqliteReader(connection).find_by_command_id(command_id, limit=limit)
        )

    async def find_by_event_id(self, id: UUID) -> Verdict | None:
        """The verdict on the command that caused this event, or whose key it is.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        return await self._database.reader.call(lambda connection: SqliteReader(connection).find_by_event_id(id))

    async def remember(self, verdicts: Sequence[Verdict]) -> None:
        """Keep verdicts that left no events in the log; durable on return, in the place of older ones.

        Raises:
            StoreUnavailable: the disk does not let it.
        """
        rows = [
            (
                verdict.key.bytes,
                to_microseconds(verdict.outcome.persisted_at or verdict.outcome.received_at),
                verdict.command_id,
                verdict.actor,
                verdict.device,
                verdict.command,
                encode_outcome(verdict.outcome),
            )
            for verdict in verdicts
        ]
        await self._database.writer.change("INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    async def prune(self, before: datetime) -> int:
        """Forget what :meth:`remember` kept before this time; how many.

        Raises:
            StoreUnavailable: the disk does not let it; some of them may be forgotten.
        """
        forgotten = 0
        forget = partial(_forget_some, before=to_microseconds(before))
        while count := await self._database.writer.call(forget):
            forgotten += count
        return forgotten


def _forget_some(connection: sqlite3.Connection, before: int) -> int:
    return connection.execute(
        "DELETE FROM outcomes WHERE key IN (SELECT key FROM outcomes WHERE recorded_at < ? LIMIT ?)",
        (before, PRUNED_AT_ONCE),
    ).rowcount
