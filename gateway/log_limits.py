"""Refusals and dead letters in the log, so many a minute for each actor and reason: a device must not blind it."""

from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from gateway.errors import Refusal
from gateway.messages import Outcome, Request
from gateway.topics import QueryTopic

PER_MINUTE: Final = 5
WINDOW: Final = 60.0
MAX_WINDOWS: Final = 1_000

_Key = tuple[str, str, str]
"""The event that tells of what was left out, whose it was, and why it was refused."""


@dataclass(slots=True)
class _Window:
    since: float
    logged: int = 0
    suppressed: int = 0


class RefusalLog:
    """Logs refusals and dead letters.

    What it leaves out is counted, and told when the minute is over and anything is refused again.

    Attributes:
        now: monotonic seconds.
    """

    def __init__(self, log: FilteringBoundLogger, now: Callable[[], float]) -> None:
        self.now = now
        self._log = log
        # in the order in which the windows were opened: the first is the first to close
        self._windows: dict[_Key, _Window] = {}

    def refused(self, request: Request, outcome: Outcome) -> None:
        """Log a refusal, unless there were too many like it."""
        if outcome.error is None or not self._may_tell(("refusals_suppressed", request.actor, outcome.error.type)):
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
        )

    def query_refused(self, topic: QueryTopic, refusal: Refusal) -> None:
        """Log the refusal of a query, unless there were too many like it."""
        if self._may_tell(("refusals_suppressed", topic.actor, refusal.type)):
            self._log.info(
                "query_refused",
                query=topic.query,
                actor=topic.actor,
                code=refusal.code,
                type=refusal.type,
                message=refusal.message,
            )

    def buried(self, actor: str, reason: str, **about: str) -> None:
        """Log a dead letter, unless there were too many like it; the actor is empty where nobody is named."""
        if self._may_tell(("dead_letters_suppressed", actor, reason)):
            self._log.warning("dead_letter", reason=reason, **about)

    def _may_tell(self, key: _Key) -> bool:
        now = self.now()
        while self._windows and now - next(iter(self._windows.values())).since >= WINDOW:
            self._close_oldest()
        window = self._windows.setdefault(key, _Window(now))
        if len(self._windows) > MAX_WINDOWS:
            self._close_oldest()
        if window.logged >= PER_MINUTE:
            window.suppressed += 1
            return False
        window.logged += 1
        return True

    def _close_oldest(self) -> None:
        (event, actor, reason), window = next(iter(self._windows.items()))
        del self._windows[event, actor, reason]
        if window.suppressed:
            # in a context of its own: the command that is worked on right now has nothing to do with it
            Context().run(self._log.info, event, actor=actor, type=reason, suppressed=window.suppressed)
