"""What became of the commands: counted, each one, and logged."""

from collections import Counter
from collections.abc import Callable

import structlog

from gateway.codes import status_of
from gateway.log import is_told
from gateway.log_limits import RefusalLog
from gateway.messages import Answer, Request

log = structlog.get_logger()


class Tally:
    """Keeps count of answers.

    Attributes:
        counters: what happened how often, by name.
    """

    def __init__(self, counters: "Counter[str]", now: Callable[[], float]) -> None:
        """Count into ``counters``; ``now`` is the time in monotonic seconds."""
        self.counters = counters
        self._refusals = RefusalLog(log, now)

    def answered(self, request: Request, answer: Answer) -> None:
        """Take note of an answer to one copy of a command."""
        outcome = answer.outcome
        self.counters[f"commands_{status_of(outcome.code)}"] += 1
        if answer.duplicate:
            self.counters["duplicates"] += 1
        if outcome.error is not None:
            self.counters[f"refused_{outcome.code}_{outcome.error.type}"] += 1
            self._refusals.refused(request, outcome)
        elif is_told("debug"):
            log.debug(
                "command_settled",
                command_id=request.command_id,
                device=request.device,
                command=request.name,
                actor=request.actor,
                code=outcome.code,
                revision=outcome.revision,
                duplicate=answer.duplicate,
            )

    def buried(self, actor: str, reason: str, **about: str) -> None:
        """Take note of a dead letter; the actor is empty where the topic names none."""
        self.counters["dead_letters"] += 1
        self._refusals.buried(actor, reason, **about)
