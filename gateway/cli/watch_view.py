"""What ``edge-gateway watch`` shows, as lines of text. Pure."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import terminal_size
from typing import Any, Final

from gateway.cli.devices import HEADING, row
from gateway.cli.output import moment, shown, table_lines

REMEMBERED: Final = 200
SPAN: Final = 10.0
"""Seconds over which the rate is told."""

_COLUMNS: Final = ("time", "device", "type", "actor", "data")
_LEAVE: Final = "Ctrl-C leaves"


@dataclass(slots=True)
class View:
    """What is known to whoever watches.

    Attributes:
        devices: documents, the one that changed last first.
        counts: how many devices have each status; ``None`` for whoever may not know.
        events: the newest first.
    """

    devices: Sequence[Mapping[str, Any]] = ()
    counts: Mapping[str, int] | None = field(default_factory=dict)
    events: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _came: deque[tuple[float, int]] = field(default_factory=deque)

    def take(self, events: Sequence[Mapping[str, Any]], now: float) -> None:
        """Events that have come, oldest first, at this time in seconds."""
        self.events.extendleft(events)
        self._came.append((now, len(events)))

    def rate(self, now: float) -> float:
        """Events a second, of late."""
        while self._came and self._came[0][0] < now - SPAN:
            self._came.popleft()
        return sum(count for _, count in self._came) / SPAN


def frame(view: View, size: terminal_size, now: float) -> list[str]:
    """As many lines as the terminal has, at most, none longer than it is wide."""
    told = [f"{view.rate(now):.1f} events/s", _LEAVE]
    if view.counts is not None:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(view.counts.items())) or "none yet"
        told.insert(0, f"devices: {counts}")
    head = ["   ".join(told), ""]
    # the two tables share what is left: each has a heading, and an empty line is between them
    rows = max(size.lines - len(head) - 3, 2)
    devices = [row(dict(document)) for document in view.devices[: rows // 2]]
    events = [_event(event) for event in list(view.events)[: rows - len(devices)]]
    lines = [*head, *table_lines(HEADING, devices), "", *table_lines(_COLUMNS, events)]
    return [line[: size.columns] for line in lines[: size.lines]]


def _event(event: Mapping[str, Any]) -> Sequence[str]:
    return [shown(moment(event[name]) if name == "time" else event[name]) for name in _COLUMNS]
