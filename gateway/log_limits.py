"""Refusals in the log, at most so many a minute for each actor and reason: a device must not be able to blind it."""

from collections import OrderedDict
from collections.abc import Callable
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
    """Logs refusals; what it left out is counted in the next line that it writes for the same actor and reason.

    Attributes:
        now: monotonic seconds.
    """

    def __init__(self, log: FilteringBoundLogger, now: Callable[[], float]) -> None:
        self.now = now
        self._log = log
        self._windows: OrderedDict[tuple[str, str], _Window] = OrderedDict()

    def refused(self, request: Request, outcome: Outcome) -> None:
        """Log a refusal, unless there were too many like it."""
        if outcome.error is None:
            return
        suppressed = self._admit((request.actor, outcome.error.type))
        if suppressed is None:
            return
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
            suppressed=suppressed,
        )

    def _admit(self, pair: tuple[str, str]) -> int | None:
        """How many lines were left out before this one; ``None`` if it is to be left out, too."""
        now = self.now()
        window = self._windows.pop(pair, None) or _Window(now)
        suppressed = 0
        if now - window.since >= WINDOW:
            suppressed, window = window.suppressed, _Window(now)
        self._windows[pair] = window
        if len(self._windows) > MAX_PAIRS:
            self._windows.popitem(last=False)
        if window.logged >= PER_MINUTE:
            window.suppressed += 1
            return None
        window.logged += 1
        return suppressed
