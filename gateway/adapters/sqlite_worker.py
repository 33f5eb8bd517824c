"""A thread with a connection of its own, which does everything that waits for it in one transaction.

While one transaction is on its way to the disk, the next one gathers. That is all there is to group commit: nothing
ever waits for company.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, Generic, TypeVar, cast

from gateway.adapters.sqlite_file import outage
from gateway.errors import GatewayError, StoreUnavailable

E = TypeVar("E")
R = TypeVar("R")


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, eq=False)
class Work(Generic[E, R]):
    """One kind of work. What waits of it is done together, in the order of arrival.

    Attributes:
        do: in the thread, inside a transaction: a result for each entry, or why that entry alone failed.
        undone: in the thread: the transaction did not happen, what ``do`` learned in it is void.
        done: on the loop, once all of it is durable, before anybody who waits is told.
    """

    do: Callable[[sqlite3.Connection, Sequence[E]], Sequence[R | GatewayError]]
    undone: Callable[[], None] = _nothing
    done: Callable[[Iterable[tuple[E, R | Exception]]], None] = _nothing


@dataclass(slots=True, eq=False)
class _Job:
    work: Work[Any, Any]
    entry: object
    future: "asyncio.Future[Any]"
    result: object = field(default=None, init=False)


def _call_each(
    connection: sqlite3.Connection, calls: Sequence[Callable[[sqlite3.Connection], object]]
) -> Sequence[object]:
    results = [call(connection) for call in calls]
    if any(isinstance(result, sqlite3.Cursor) for result in results):
        # wherever it dies, it resets the statement that the next one is using: what that writes is lost, or an error
        raise TypeError("a cursor must not leave the thread of its connection")
    return results


def _change_each(
    connection: sqlite3.Connection, changes: Sequence[tuple[str, Sequence[Sequence[object]]]]
) -> list[None]:
    for statement, rows in changes:
        connection.executemany(statement, rows)
    return [None] * len(changes)


_CALLS: Final = Work(_call_each)
_CHANGES: Final = Work(_change_each)


class Worker:
    """The thread, from the loop's side. Its connection is opened when first needed, and anew after an outage.

    Attributes:
        begin: how a transaction starts: ``BEGIN`` to read, ``BEGIN IMMEDIATE`` to write.
        farewell: the last thing done with the connection when the worker is closed.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], sqlite3.Connection],
        *,
        begin: str,
        farewell: Callable[[sqlite3.Connection], None] = _nothing,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connect = connect
        self._begin = begin
        self._farewell = farewell
        self._connection: sqlite3.Connection | None = None
        self._waiting: list[_Job] = []
        self._handed_over: SimpleQueue[list[_Job] | None] = SimpleQueue()
        self._closed = False
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Work[E, R], entry: E) -> "asyncio.Future[R]":
        """Have an entry done, together with what else waits; whoever stops waiting for it stops nothing.

        The future fails with :class:`~gateway.errors.StoreUnavailable` if the disk does not let it, and is done only
        after COMMIT.

        Raises:
            StoreUnavailable: the worker is closed.
        """
        if self._closed:
            raise StoreUnavailable("the database is closed")
        job = _Job(work, entry, self._loop.create_future())
        if not self._waiting:
            # what the same pass of the loop submits goes over as one, instead of waking the thread for the first
            self._loop.call_soon(self._hand_over)
        self._waiting.append(job)
        return job.future

    def call(self, function: Callable[[sqlite3.Connection], R]) -> "asyncio.Future[R]":
        """Have a function called with the connection; otherwise as :meth:`submit`."""
        return cast("asyncio.Future[R]", self.submit(_CALLS, function))

    def change(self, statement: str, rows: Sequence[Sequence[object]]) -> "asyncio.Future[None]":
        """Have a statement executed with each row of values; otherwise as :meth:`submit`."""
        return self.submit(_CHANGES, (statement, rows))

    async def close(self) -> None:
        """Finish what was submitted, then close the connection."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            self._handed_over.put(None)
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        if self._waiting:
            self._handed_over.put(self._waiting)
            self._waiting = []

    def _settle(self, groups: dict[Work[Any, Any], list[_Job]]) -> None:
        for work, jobs in groups.items():
            work.done((job.entry, job.result) for job in jobs)
        for jobs in groups.values():
            for job in jobs:
                if job.future.done():
                    continue
                if isinstance(job.result, Exception):
                    job.future.set_exception(job.result)
                else:
                    job.future.set_result(job.result)

    # everything below runs in the thread

    def _run(self) -> None:
        last = False
        while not last:
            handed_over = [self._handed_over.get()]
            while not self._handed_over.empty():
                handed_over.append(self._handed_over.get())
            last = handed_over[-1] is None
            if jobs := [job for some in handed_over for job in some or ()]:
                groups = _by_work(jobs)
                self._attempt(groups)
                self._loop.call_soon_threadsafe(self._settle, groups)
        if self._connection is not None:
            # a farewell that the disk refuses costs the next start a check, nothing else
            with suppress(sqlite3.Error):
                self._farewell(self._connection)
            self._disconnect()

    def _attempt(self, groups: dict[Work[Any, Any], list[_Job]]) -> None:
        try:
            self._transact(groups)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait for the results
            self._roll_back(groups)
            jobs = [job for group in groups.values() for job in group]
            if outage(error) is not None:
                # an error at COMMIT leaves the connection in doubt, so the next transaction has a new one
                self._disconnect()
                for job in jobs:
                    job.result = outage(error)
            elif len(jobs) == 1:
                jobs[0].result = error
            else:
                # one of them cannot be done: alone, it fails alone
                for job in jobs:
                    self._attempt({job.work: [job]})

    def _transact(self, groups: dict[Work[Any, Any], list[_Job]]) -> None:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.execute(self._begin)
        for work, jobs in groups.items():
            results = work.do(self._connection, [job.entry for job in jobs])
            for job, result in zip(jobs, results, strict=True):
                job.result = result
        self._connection.execute("COMMIT")

    def _roll_back(self, works: Iterable[Work[Any, Any]]) -> None:
        for work in works:
            work.undone()
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _by_work(jobs: Iterable[_Job]) -> dict[Work[Any, Any], list[_Job]]:
    groups: dict[Work[Any, Any], list[_Job]] = {}
    for job in jobs:
        groups.setdefault(job.work, []).append(job)
    return groups
