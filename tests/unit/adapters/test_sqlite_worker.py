import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from gateway.adapters.sqlite_worker import Work, Worker
from gateway.errors import GatewayError, StorageFull, StoreUnavailable


class Connections:
    """Connects to a file with one table, and keeps a record of every statement."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.statements: list[str] = []
        self.opened = 0
        self.fails = False

    def __call__(self) -> sqlite3.Connection:
        if self.fails:
            raise sqlite3.OperationalError("unable to open database file")
        self.opened += 1
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY) STRICT")
        connection.set_trace_callback(self.statements.append)
        return connection

    @property
    def commits(self) -> int:
        return self.statements.count("COMMIT")

    def numbers(self) -> list[int]:
        with sqlite3.connect(self._path) as connection:
            rows = connection.execute("SELECT number FROM numbers ORDER BY number").fetchall()
        connection.close()
        return [number for (number,) in rows]


@pytest.fixture
def connections(tmp_path: Path) -> Connections:
    return Connections(tmp_path / "numbers.db")


@asynccontextmanager
async def working(
    connections: Connections, farewell: Callable[[sqlite3.Connection], None] = lambda _: None
) -> AsyncIterator[Worker]:
    worker = Worker("sqlite-test", connections, begin="BEGIN IMMEDIATE", farewell=farewell)
    try:
        yield worker
    finally:
        await worker.close()


def insert(number: int, connection: sqlite3.Connection) -> int:
    connection.execute("INSERT INTO numbers VALUES (?)", (number,))
    return number


def fill_the_disk(connection: sqlite3.Connection) -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    connection.execute("INSERT INTO numbers VALUES (99)")
    raise error


async def test_what_waits_together_is_committed_together(connections: Connections) -> None:
    async with working(connections) as worker:
        results = await asyncio.gather(*(worker.call(partial(insert, n)) for n in range(100)))
    assert results == list(range(100)) == connections.numbers()
    assert connections.commits == 1


async def test_what_arrives_during_a_commit_makes_up_the_next(connections: Connections) -> None:
    started, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> int:
        started.set()
        go_on.wait()
        return insert(0, connection)

    async with working(connections) as worker:
        first = worker.call(slow)
        await asyncio.to_thread(started.wait)
        others = [worker.call(partial(insert, n)) for n in range(1, 50)]
        await asyncio.sleep(0)
        others += [worker.call(partial(insert, n)) for n in range(50, 100)]
        go_on.set()
        await asyncio.gather(first, *others)
    assert connections.commits == 2


async def test_different_kinds_of_work_share_a_commit(connections: Connections) -> None:
    def insert_all(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[int]:
        return [insert(number, connection) for number in numbers]

    work: Work[int, int] = Work(insert_all)
    async with working(connections) as worker:
        results = await asyncio.gather(worker.submit(work, 1), worker.call(partial(insert, 2)), worker.submit(work, 3))
    assert list(results) == [1, 2, 3]
    assert connections.commits == 1


async def test_an_entry_that_is_refused_fails_alone(connections: Connections) -> None:
    def insert_even(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[int | GatewayError]:
        return [insert(n, connection) if n % 2 == 0 else GatewayError(f"{n} is odd") for n in numbers]

    work: Work[int, int] = Work(insert_even)
    async with working(connections) as worker:
        results = await asyncio.gather(*(worker.submit(work, n) for n in range(4)), return_exceptions=True)
    assert [str(result) for result in results] == ["0", "1 is odd", "2", "3 is odd"]
    assert connections.numbers() == [0, 2]


@pytest.mark.parametrize(
    ("poison", "error"), [(5, sqlite3.IntegrityError), (2**70, OverflowError), ("x", sqlite3.IntegrityError)]
)
async def test_a_statement_that_fails_unexpectedly_fails_alone(
    connections: Connections, poison: int, error: type[Exception]
) -> None:
    async with working(connections) as worker:
        await worker.call(partial(insert, 5))
        results = await asyncio.gather(
            *(worker.call(partial(insert, n)) for n in (0, 1, poison, 2)), return_exceptions=True
        )
    assert [type(result) for result in results] == [int, int, error, int]
    assert connections.numbers() == [0, 1, 2, 5]


async def test_a_full_disk_fails_the_batch_and_the_next_one_works(connections: Connections) -> None:
    async with working(connections) as worker:
        results = await asyncio.gather(
            worker.call(partial(insert, 1)), worker.call(fill_the_disk), return_exceptions=True
        )
        assert [type(result) for result in results] == [StorageFull, StorageFull]
        assert await worker.call(partial(insert, 2)) == 2
    assert connections.numbers() == [2]
    assert connections.opened == 2


async def test_a_file_that_cannot_be_opened_for_a_while_is_opened_later(connections: Connections) -> None:
    connections.fails = True
    async with working(connections) as worker:
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="unable to open"):
                await worker.call(partial(insert, 1))
        connections.fails = False
        assert await worker.call(partial(insert, 1)) == 1


async def test_work_is_told_that_its_transaction_did_not_happen(connections: Connections) -> None:
    undone: list[bool] = []
    settled: list[tuple[object, object]] = []
    work = Work(lambda _, entries: list(entries), undone=lambda: undone.append(True), done=settled.extend)
    async with working(connections) as worker:
        failing = worker.call(fill_the_disk)
        with pytest.raises(StorageFull):
            await worker.submit(work, 1)
        assert undone == [True]
        assert [(entry, type(result)) for entry, result in settled] == [(1, StorageFull)]
        with pytest.raises(StorageFull):
            await failing


async def test_whoever_stops_waiting_stops_nothing(connections: Connections) -> None:
    async with working(connections) as worker:
        futures = [worker.call(partial(insert, n)) for n in range(10)]
        for future in futures[::2]:
            future.cancel()
        await asyncio.gather(*futures[1::2])
    assert connections.numbers() == list(range(10))


async def test_closing_finishes_what_was_submitted(connections: Connections) -> None:
    farewells: list[list[tuple[int]]] = []
    worker = Worker(
        "sqlite-test",
        connections,
        begin="BEGIN IMMEDIATE",
        farewell=lambda connection: farewells.append(connection.execute("SELECT * FROM numbers").fetchall()),
    )
    futures = [worker.call(partial(insert, n)) for n in range(3)]
    await worker.close()
    assert await asyncio.gather(*futures) == [0, 1, 2]
    assert farewells == [[(0,), (1,), (2,)]]


async def test_a_farewell_that_the_disk_refuses_does_not_stop_the_closing(connections: Connections) -> None:
    refused: list[bool] = []

    def refuse(_: sqlite3.Connection) -> None:
        refused.append(True)
        raise sqlite3.OperationalError("disk I/O error")

    async with working(connections, farewell=refuse) as worker:
        await worker.call(partial(insert, 1))
    assert refused == [True]
    assert connections.numbers() == [1]


async def test_changes_are_made_row_by_row_and_one_that_cannot_be_made_fails_alone(connections: Connections) -> None:
    statement = "INSERT INTO numbers VALUES (?)"
    async with working(connections) as worker:
        results = await asyncio.gather(
            worker.change(statement, [(1,), (2,)]),
            worker.change(statement, [(3,), (1,)]),
            worker.change("DELETE FROM numbers WHERE number = ?", [(2,), (7,)]),
            return_exceptions=True,
        )
    assert (results[0], type(results[1]), results[2]) == (None, sqlite3.IntegrityError, None)
    assert connections.numbers() == [1]


async def test_no_cursor_leaves_the_thread(connections: Connections) -> None:
    async with working(connections) as worker:
        with pytest.raises(TypeError, match="cursor"):
            await worker.call(lambda connection: connection.execute("INSERT INTO numbers VALUES (1)"))
    assert connections.numbers() == []


async def test_a_closed_worker_is_unavailable(connections: Connections) -> None:
    async with working(connections) as worker:
        pass
    with pytest.raises(StoreUnavailable, match="closed"):
        worker.call(partial(insert, 1))


async def test_the_work_is_done_in_the_thread(connections: Connections) -> None:
    async with working(connections) as worker:
        assert await worker.call(lambda _: threading.current_thread().name) == "sqlite-test"
