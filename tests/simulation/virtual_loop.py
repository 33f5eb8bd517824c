"""An event loop whose time is counted, not measured: where nothing is ready, the next timer is due at once.

No threads, no sockets. Of the tasks that can go on at the same moment, dice say which goes first.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

SLOWEST_THREAD = 0.01


class StandstillError(Exception):
    """Nothing is ready and nothing is due: whoever waits, waits for ever."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Its own selector: to wait for sockets is to let the time pass."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, dice: Random) -> None:
        super().__init__()
        self._dice = dice
        self._now = 0.0
        self._selector = self

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise StandstillError
        if timeout > 0:
            self._now = max(self._now, self._scheduled[0].when())
        if len(self._ready) > 1:
            self._shuffle()
        return []

    def run_in_executor(  # type: ignore[override]  # typeshed binds the arguments to the function
        self, _executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """A thread's work is done in one go, a little later; as with a thread, nobody can call it off."""
        future = self.create_future()

        def work() -> None:
            try:
                result = func(*args)
            except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the thread
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self.call_later(self._dice.uniform(0, SLOWEST_THREAD), work)
        return future

    def _shuffle(self) -> None:
        """Tasks that can go on do so in any order; callbacks keep theirs, which asyncio promises."""
        ready = self._ready
        places = [at for at, handle in enumerate(ready) if _is_step(handle)]
        if len(places) > 1:
            handles = [ready[at] for at in places]
            self._dice.shuffle(handles)
            for at, handle in zip(places, handles, strict=True):
                ready[at] = handle

    def _process_events(self, _events: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody has to be woken up: there is one thread."""


def _is_step(handle: asyncio.Handle) -> bool:
    callback = handle._callback  # type: ignore[attr-defined]
    return isinstance(getattr(callback, "__self__", None), asyncio.Task)
