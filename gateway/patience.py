"""Many who each wait for so long, over one timer of the loop: one for each would cost more than most of the waiting."""

import asyncio
from types import TracebackType
from typing import Final, Self


class Patience:
    """Ends what takes longer than it may, as :func:`asyncio.timeout_at` does."""

    def __init__(self) -> None:
        self._waiting: dict[_Limit, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def until(self, deadline: float) -> "_Limit":
        """For ``with``, around what may last until then by the clock of the loop.

        On leaving it raises TimeoutError, if it took longer; it was cancelled then.
        """
        return _Limit(self, deadline)

    def begin(self, limit: "_Limit") -> None:
        """Somebody begins to wait."""
        self._waiting[limit] = None
        # the timer of one who is done stays: it finds out who is next
        if self._timer is None or limit.deadline < self._timer.when():
            self._set(limit.deadline)

    def end(self, limit: "_Limit") -> None:
        """He has what he waited for, or does not wait any more."""
        self._waiting.pop(limit, None)

    def _set(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for limit in [limit for limit in self._waiting if limit.deadline <= now]:
            del self._waiting[limit]
            limit.expire()
        if self._waiting:
            self._set(min(limit.deadline for limit in self._waiting))


class _Limit:
    """Of one who waits."""

    __slots__ = ("_cancelling", "_expired", "_patience", "_task", "deadline")

    def __init__(self, patience: Patience, deadline: float) -> None:
        self.deadline: Final = deadline
        self._patience = patience
        self._expired = False

    def expire(self) -> None:
        """It took too long."""
        self._expired = True
        self._task.cancel()

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can be patient")
        self._task = task
        self._cancelling = task.cancelling()
        self._patience.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._patience.end(self)
        # somebody else may have cancelled it meanwhile, which counts for more
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
