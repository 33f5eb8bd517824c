"""The gateway's own index of event ids, in an SQLite in memory that keeps what a crash leaves."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TypeVar
from uuid import UUID

from gateway.adapters.sqlite_file import MIGRATIONS
from gateway.messages import Outcome
from tests.simulation.disk import Database, DiskVerdicts

R = TypeVar("R")

FLUSH_INTERVAL = 1.0


class IndexVerdicts(DiskVerdicts):
    """See :class:`~gateway.adapters.sqlite_outcomes.SqliteOutcomes`: the verdicts that leave no event."""

    async def find(self, stream: object, revision: object, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:  # type: ignore[override]  # noqa: ARG002 - every verdict is known as soon as it is kept
        return await super().find(keys)


@dataclass(frozen=True, slots=True)
class Worker:
    """See :class:`~gateway.adapters.sqlite_worker.Worker`: in the time and the troubles of the simulated disk."""

    database: Database
    connection: sqlite3.Connection
    writes: bool

    async def call(self, work: Callable[[sqlite3.Connection], R]) -> R:
        """Commit what it does, or none of it."""
        how = self.database.write if self.writes else self.database.read
        return await how(lambda: self._in_transaction(work))

    def _in_transaction(self, work: Callable[[sqlite3.Connection], R]) -> R:
        with self.connection:
            return work(self.connection)


class IndexFile:
    """See :class:`~gateway.adapters.sqlite.Database`, as far as an index needs it."""

    def __init__(self, database: Database, connection: sqlite3.Connection) -> None:
        self.writer = Worker(database, connection, writes=True)
        self.reader = Worker(database, connection, writes=False)


def new_index() -> sqlite3.Connection:
    """Empty, with the tables that the gateway makes."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(_empty())
    return connection


@cache
def _empty() -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in chain.from_iterable(MIGRATIONS):
            connection.execute(statement)
        connection.commit()
        return connection.serialize()
