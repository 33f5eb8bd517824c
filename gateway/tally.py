"""What became of commands and queries: counted, each one, and logged."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from gateway.codes import status_of
from gateway.errors import Refusal
from gateway.log import is_told
from gateway.log_limits import RefusalLog
from gateway.messages import Answer, Request
from gateway.topics import QueryTopic

log = structlog.get_logger()

UNKNOWN_QUERY: Final = "unknown"
"""Stands for all names that are no query's: senders make them up, and each counter takes memory for ever."""
ANSWERED: Final = 200


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

    def asked(self, topic: QueryTopic, refusal: Refusal | None, *, is_known: bool) -> None:
        """Take note of an answer to a query, which is a result unless it was refused; not all names are known."""
        code = ANSWERED if refusal is None else refusal.code
        self.counters[f"queries_{topic.query if is_known else UNKNOWN_QUERY}_{code}"] += 1
        if refusal is not None:
            self._refusals.query_refused(topic, refusal)

    def buried(self, actor: str, reason: str, **about: str) -> None:
        """Take note of a dead letter, for one of the gateway's own reasons; no actor where the topic names none."""
        self.counters["dead_letters"] += 1
        self.counters[f"dead_letters_{reason}"] += 1
        self._refusals.buried(actor, reason, **about)
