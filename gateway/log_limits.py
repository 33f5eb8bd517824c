"""Refusals in the log, at most so many a minute for each actor and reason: a device must not be able to blind it."""

from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from gateway.messages import Outcome, Request

PER_MINUTE: Final = 5
WINDOW: Final = 60.0
MAX_PAIRS: Final = 1_000


@dataclass(slots=True)
class _Window:
    since: float
    logged: int = 0
    suppressed: int = 0


class RefusalLog:
    """Logs refusals; what it leaves out is counted, and told when the minute is over and anybody is refused again.

    Attributes:
        now: monotonic seconds.
    """

    def __init__(self, log: FilteringBoundLogger, now: Callable[[], float]) -> None:
        self.now = now
        self._log = log
        # in the order in which the windows were opened: the first is the first to close
        self._windows: dict[tuple[str, str], _Window] = {}

    def refused(self, request: Request, outcome: Outcome) -> None:
        """Log a refusal, unless there were too many like it."""
        if outcome.error is None:
            return
        now = self.now()
        while self._windows and now - next(iter(self._windows.values())).since >= WINDOW:
            self._close_oldest()
        window = self._windows.setdefault((request.actor, outcome.error.type), _Window(now))
        if len(self._windows) > MAX_PAIRS:
            self._close_oldest()
        if window.logged >= PER_MINUTE:
            window.suppressed += 1
            return
        window.logged += 1
        self._log.info(
            "command_refused",
            command_id=request.command_id,
            device=request.device,
            command=request.name,
            actor=request.actor,
            code=outcome.code,
            type=outcome.error.type,
            message=outcome.error.message,
            revision=outcome.revision,
        )

    def _close_oldest(self) -> None:
        (actor, reason), window = next(iter(self._windows.items()))
        del self._windows[actor, reason]
        if window.suppressed:
            # in a context of its own: the command that is worked on right now has nothing to do with it
            Context().run(self._log.info, "refusals_suppressed", actor=actor, type=reason, suppressed=window.suppressed)
