"""The gateway's own index of event ids, in an SQLite in memory that keeps what a crash leaves."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TypeVar, cast
from uuid import UUID

from gateway.adapters.outcome_record import encode_outcome
from gateway.adapters.sqlite_file import MIGRATIONS
from gateway.adapters.sqlite_outcomes import Found
from gateway.adapters.sqlite_worker import Work
from tests.simulation.disk import Database, DiskVerdicts

E = TypeVar("E")
R = TypeVar("R")

FLUSH_INTERVAL = 1.0


class IndexVerdicts(DiskVerdicts):
    """See :class:`~gateway.adapters.sqlite_outcomes.SqliteOutcomes`: the verdicts that leave no event."""

    def ask(self, keys: Sequence[UUID]) -> "asyncio.Future[Found]":
        rows = self._database.disk.outcomes
        return self._database.read(lambda: {key: encode_outcome(rows[key]) for key in keys if key in rows})


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

    def submit(self, work: Work[E, R], entry: E) -> "asyncio.Future[R]":
        """One entry alone."""
        assert not self.writes
        return self.database.read(lambda: cast("R", work.do(self.connection, [entry])[0]))

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
