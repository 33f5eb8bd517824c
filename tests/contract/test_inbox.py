"""What every inbox promises. Another one is one more line in INBOXES."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.adapters.sqlite import open_database
from gateway.adapters.sqlite_inbox import SqliteInbox
from gateway.messages import MessageProperties, Parked, ParkedEntry
from gateway.ports import Inbox
from tests.support.memory_inbox import MemoryInbox

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


@asynccontextmanager
async def sqlite_inbox(directory: Path) -> AsyncIterator[Inbox]:
    async with open_database(directory / "gateway.db") as database:
        yield SqliteInbox(database, reserve=0)


@asynccontextmanager
async def memory_inbox(_directory: Path) -> AsyncIterator[Inbox]:
    yield MemoryInbox()


Factory = Callable[[Path], AbstractAsyncContextManager[Inbox]]
INBOXES: dict[str, Factory] = {"sqlite": sqlite_inbox, "memory": memory_inbox}


@pytest.fixture(params=INBOXES)
async def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Inbox]:
    async with INBOXES[request.param](tmp_path) as one:
        yield one


def parked(arrival: int, device: str = "p", copy_of: bytes | None = None) -> Parked:
    properties = MessageProperties("edge/gw1/ack/p/me", b"\x00\xff", "application/json", 60, (("a", "1"), ("a", "ü")))
    entry = ParkedEntry(arrival, "alice", device)
    topic = f"edge/gw1/cmd/alice/{device}/stop"
    return Parked(entry, f"c{arrival}", copy_of, AT, topic, b"\x00{}\xff", retain=True, properties=properties)


async def test_a_command_comes_out_exactly_as_it_went_in(inbox: Inbox) -> None:
    unread = replace(parked(3), properties=MessageProperties(complete=False))
    commands = [parked(1), parked(2, copy_of=bytes(16)), unread]
    assert await inbox.park(commands) == [1, 2, 3]
    assert list(await inbox.read("p", after=0, limit=10)) == commands


async def test_commands_wait_in_the_order_of_arrival_whenever_they_were_kept(inbox: Inbox) -> None:
    await inbox.park([parked(5), parked(7)])
    await inbox.park([parked(6, "q"), parked(2)])
    assert await inbox.waiting() == [parked(n, d).entry for n, d in ((2, "p"), (5, "p"), (6, "q"), (7, "p"))]
    assert [one.entry.arrival for one in await inbox.read("p", after=2, limit=1)] == [5]


async def test_a_copy_of_one_that_waits_is_not_kept(inbox: Inbox) -> None:
    copy_of = bytes(range(16))
    assert await inbox.park([parked(1, copy_of=copy_of), parked(2, copy_of=copy_of)]) == [1, 1]
    assert await inbox.park([parked(3, copy_of=copy_of), parked(4), parked(5)]) == [1, 4, 5]


async def test_what_is_removed_is_gone_and_may_come_again(inbox: Inbox) -> None:
    await inbox.park([parked(1, copy_of=bytes(16)), parked(2)])
    await inbox.remove([1, 99])
    assert [entry.arrival for entry in await inbox.waiting()] == [2]
    assert await inbox.park([parked(3, copy_of=bytes(16))]) == [3]
