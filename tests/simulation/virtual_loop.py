"""An event loop whose time is counted, not measured: where nothing is ready, the next timer is due at once.

No threads, no sockets. Of the tasks that can go on at the same moment, dice say which goes first.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any, Final

SLOWEST_THREAD: Final = 0.01
TOGETHER: Final = 1e-9
"""Seconds within which timers are due at the same moment."""


class StandstillError(Exception):
    """Nothing is ready and nothing is due: whoever waits, waits for ever."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs what is ready, and lets the time pass when nothing is.

    That is all that asyncio's own loop does for a simulation, but with selectors, clocks and a heap whose entries are
    compared in Python it took half of the time of a run.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool

    def __init__(self, dice: Random) -> None:
        super().__init__()
        self._dice = dice
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]  # typeshed binds the arguments to the function
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._numbers), timer))
        return timer

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

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers
        if len(ready) > 1:
            self._shuffle()
        while not ready:
            if not timers:
                raise StandstillError
            self._now = max(self._now, timers[0][0])
            self._ripen()
        self._ripen()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _ripen(self) -> None:
        """Timers that are due are ready now."""
        due, timers = self._now + TOGETHER, self._timers
        while timers and timers[0][0] < due:
            timer = heappop(timers)[2]
            if not timer._cancelled:
                self._ready.append(timer)

    def _shuffle(self) -> None:
        """Tasks that can go on do so in any order; callbacks keep theirs, which asyncio promises."""
        ready = self._ready
        places = [at for at, handle in enumerate(ready) if _is_step(handle)]
        if len(places) > 1:
            handles = [ready[at] for at in places]
            self._dice.shuffle(handles)
            for at, handle in zip(places, handles, strict=True):
                ready[at] = handle

    def _timer_handle_cancelled(self, _handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time has come."""

    def _write_to_self(self) -> None:
        """Nobody has to be woken up: there is one thread."""


def _is_step(handle: asyncio.Handle) -> bool:
    callback = handle._callback  # type: ignore[attr-defined]
    return isinstance(getattr(callback, "__self__", None), asyncio.Task)
