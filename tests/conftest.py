"""What holds for every test: nothing that it started may outlive it, and no error may go unseen."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator
from typing import Any

import hypothesis
import pytest
import pytest_asyncio

from tests.support.chosen_store import CHOSEN, EMBEDDED

# how long a machine takes that has other work, too, says nothing about what is tested
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # started in the background by a shell; what the tests start would ignore it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With another store, leave out what needs the embedded one, brings its own, or has nothing to do with it."""
    if CHOSEN == EMBEDDED:
        return
    elsewhere = [item for item in items if item.get_closest_marker("embedded")]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in elsewhere]


@pytest.fixture(autouse=True)
def _nothing_left_behind(request: pytest.FixtureRequest) -> None:
    """For tests on an event loop only: the others have nothing to leave behind."""
    if asyncio.iscoroutinefunction(getattr(request.function, "__wrapped__", request.function)):
        request.getfixturevalue("_clean_loop")


@pytest_asyncio.fixture
async def _clean_loop() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    gc.collect()  # "never retrieved" is said when the future goes
    await asyncio.sleep(0)  # and what was collected may still have to be closed
    await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if not task.done()} - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"
    known = (_is_of_an_older_loop, _is_of_a_broken_line, _is_of_a_call_that_was_given_up, _is_of_a_lost_broker)
    complaints = [context for context in complaints if not any(one(context) for one in known)]
    assert not complaints, f"errors that nobody saw: {complaints}"


def _is_of_an_older_loop(context: dict[str, Any]) -> bool:
    # gRPC has one poller for all loops, which may have something left for the one of an earlier test
    return "PollerCompletionQueue" in context["message"] and str(context.get("exception")) == "Event loop is closed"


def _is_of_a_broken_line(context: dict[str, Any]) -> bool:
    # a technician's client may begin to watch a socket that it has closed already, because the broker was killed
    return "add_writer" in context["message"] and isinstance(context.get("exception"), OSError)


def _is_of_a_call_that_was_given_up(context: dict[str, Any]) -> bool:
    # gRPC leaves the task behind that sends to a server which did not answer in time
    return "destroyed" in context["message"] and "_consume_request_iterator" in repr(context.get("task"))


def _is_of_a_lost_broker(context: dict[str, Any]) -> bool:
    # aiomqtt keeps how a connection ended for whoever waits for it, and a technician may have left before
    return "never retrieved" in context["message"] and repr(context.get("exception")).startswith("MqttCodeError(")
