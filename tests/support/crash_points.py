"""A gateway that is killed at a named point: ``python -m tests.support.crash_points POINT PASSAGE VICTIM run ...``.

At the given passage of the point (counted from 1) it kills a process with SIGKILL: itself where VICTIM is 0, else the
one with this process id. The points are put around the gateway's own functions from outside, so that they cost nothing
where nobody asks for them.
"""

import functools
import inspect
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway import app
from gateway.adapters import sqlite, sqlite_append, tinydb_cache
from gateway.adapters.mqtt import Link
from gateway.adapters.mqtt_connection import MqttDelivery
from gateway.adapters.sqlite_identity import SqliteCursors
from gateway.adapters.sqlite_inbox import SqliteInbox
from gateway.adapters.sqlite_outages import SqlitePendingOutages
from gateway.adapters.sqlite_outcomes import SqliteOutcomes
from gateway.adapters.sqlite_snapshots import SqliteSnapshots
from gateway.cli import main
from gateway.handler import Handler
from gateway.intake import Intake
from gateway.lanes import Lanes
from gateway.parking import Parking
from gateway.pipeline import Pipeline
from gateway.projection import Projection
from gateway.projector import Projector
from gateway.replies import Replies


@dataclass(frozen=True)
class Point:
    """Before or after each call of a function.

    Attributes:
        owner: class or module that has it.
        since: passages count from the first call of this function on.
    """

    owner: Any
    name: str
    after: bool = False
    since: "Point | None" = None


COMMAND_PATH: Final[dict[str, Point]] = {
    "received": Point(Pipeline, "accept"),
    "parsed": Point(Intake, "read_command", after=True),
    "laned": Point(Lanes, "submit", after=True),
    "known": Point(Handler, "_known", after=True),
    "before append": Point(Handler, "_append"),
    "after append": Point(Handler, "_append", after=True),
    "before outcome": Point(SqliteOutcomes, "remember"),
    "after outcome": Point(SqliteOutcomes, "remember", after=True),
    "before acknowledgement": Point(Replies, "_publish"),
    "after acknowledgement": Point(MqttDelivery, "acknowledge"),
    "after PUBACK": Point(MqttDelivery, "acknowledge", after=True),
    "after snapshot": Point(SqliteSnapshots, "save_snapshot", after=True),
}
READ_SIDE: Final[dict[str, Point]] = {
    "before fold": Point(Projection, "apply"),
    "after fold": Point(Projector, "_fold", after=True),
    "before flush": Point(tinydb_cache, "_replace"),
    "in flush": Point(os, "fsync", after=True),
    "after flush": Point(tinydb_cache, "_replace", after=True),
    "after cursor": Point(SqliteCursors, "save_cursor", after=True),
}
START: Final[dict[str, Point]] = {
    "claimed": Point(sqlite, "prepare"),
    "opened": Point(app, "find"),
    "found": Point(app, "find", after=True),
    "connecting": Point(Link, "_serve"),
    "crash recorded": Point(SqlitePendingOutages, "remove"),
}
EMBEDDED: Final[dict[str, Point]] = {"in transaction": Point(sqlite_append.AppendWriter, "write", after=True)}
PARKING: Final[dict[str, Point]] = {
    "before parking": Point(SqliteInbox, "park"),
    "after parking": Point(SqliteInbox, "park", after=True),
    "before settling": Point(Parking, "next_of", after=True),
    "after settling": Point(Parking, "settle", after=True),
    "before removal": Point(SqliteInbox, "remove"),
    "after removal": Point(SqliteInbox, "remove", after=True),
}
_ASKED: Final = Point(Projector, "rebuild")
REBUILD: Final[dict[str, Point]] = {
    "rebuild asked for": replace(_ASKED, after=True),
    "cleared for a rebuild": Point(Projection, "clear", after=True, since=_ASKED),
    **{f"{label} of a rebuild": replace(point, since=_ASKED) for label, point in READ_SIDE.items()},
}
"""In a rebuild that is asked for by SIGUSR1."""

POINTS: Final[dict[str, Point]] = {**COMMAND_PATH, **READ_SIDE, **START, **EMBEDDED, **PARKING, **REBUILD}


def plant(point: Point, passage: int, victim: int) -> None:
    """Kill the victim at this passage of a point.

    Raises:
        AttributeError: the gateway has no such function any more.
    """
    original: Callable[..., Any] = getattr(point.owner, point.name)
    passages = itertools.count(1)
    begun = threading.Event()

    def pass_by() -> None:
        if begun.is_set() and next(passages) == passage:
            os.kill(victim or os.getpid(), signal.SIGKILL)

    if point.since is None:
        begun.set()
    else:
        _tell_of(point.since, begun)

    @functools.wraps(original)
    def call(*arguments: Any, **named: Any) -> Any:
        if not point.after:
            pass_by()
        result = original(*arguments, **named)
        if point.after:
            pass_by()
        return result

    @functools.wraps(original)
    async def call_async(*arguments: Any, **named: Any) -> Any:
        if not point.after:
            pass_by()
        result = await original(*arguments, **named)
        if point.after:
            pass_by()
        return result

    setattr(point.owner, point.name, call_async if inspect.iscoroutinefunction(original) else call)


def _tell_of(point: Point, begun: threading.Event) -> None:
    original: Callable[..., Any] = getattr(point.owner, point.name)

    @functools.wraps(original)
    def call(*arguments: Any, **named: Any) -> Any:
        begun.set()
        return original(*arguments, **named)

    setattr(point.owner, point.name, call)


if __name__ == "__main__":
    _, label, nth, process_id, *command_line = sys.argv
    plant(POINTS[label], int(nth), int(process_id))
    sys.exit(main(command_line))
