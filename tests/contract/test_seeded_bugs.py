"""What the contract of the event stores can find: every bug that is planted in the server makes it fail."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from itertools import product
from typing import Any

import pytest

from tests.contract import test_event_store as contract
from tests.support.chosen_store import CHOSEN, EMBEDDED
from tests.support.eventstoredb_bugs import BUGS, HEALED
from tests.support.eventstoredb_process import stand_in

pytestmark = pytest.mark.skipif(CHOSEN != EMBEDDED, reason="the bugs are planted in a server of their own")

PATIENCE = 10.0
"""Seconds for one test of the contract; with a bug, some would wait for ever."""

LEFT_OUT = "test_an_append_that_nobody_waits_for_any_more_is_written_whole_or_not_at_all"
"""After it a client takes five seconds to close."""

Case = Callable[[Any], Awaitable[None]]


def _cases() -> dict[str, Case]:
    """Every test of the contract, with each of its parameters."""
    found: dict[str, Case] = {}
    for name, function in inspect.getmembers(contract, inspect.iscoroutinefunction):
        if not name.startswith("test_") or name == LEFT_OUT:
            continue
        marks = [mark for mark in getattr(function, "pytestmark", ()) if mark.name == "parametrize"]
        for values in product(*(mark.args[1] for mark in marks)):
            parameters = dict(zip((mark.args[0] for mark in marks), values, strict=True))
            found[f"{name}{list(values) if values else ''}"] = partial(function, **parameters)
    return found


async def _fault_of(name: str, case: Case, url: str) -> str | None:
    """What a test of the contract finds wrong; that it waits in vain counts, too."""
    try:
        async with contract.eventstoredb_at(url) as store, asyncio.timeout(PATIENCE):
            await case(store)
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - whatever a test fails with
        return f"{name}: {error!r}"
    return None


async def _first_fault() -> str | None:
    """What the first of the tests says that fails; they run side by side, each on a log of its own."""
    # what a failing test leaves unseen is what fails it
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    async with stand_in() as server:
        of_server = asyncio.all_tasks()
        running = [asyncio.create_task(_fault_of(name, case, server.url)) for name, case in _cases().items()]
        try:
            for done in asyncio.as_completed(running):
                if (fault := await done) is not None:
                    return fault
            return None
        finally:
            await _end(running)
            # a test that fails leaves tasks of its own behind, and a call of gRPC must not outlive its loop
            await _end([task for task in asyncio.all_tasks() - of_server if "grpc" not in repr(task)])


async def _end(tasks: Collection["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def test_without_a_bug_nothing_is_found() -> None:
    assert len(_cases()) > 25
    assert asyncio.run(_first_fault()) is None


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_found(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    BUGS[bug](monkeypatch)
    assert asyncio.run(_first_fault()) is not None


@pytest.mark.parametrize("bug", HEALED)
def test_what_the_adapter_makes_good_itself_is_not_found(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    HEALED[bug](monkeypatch)
    assert asyncio.run(_first_fault()) is None
