"""What a check found."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        remedy: what to do about it; empty where nothing has to be done.
    """

    level: Level
    detail: str
    remedy: str = ""


def fine(detail: str) -> Finding:
    """As it should be."""
    return Finding(Level.OK, detail)


def skipped(detail: str) -> Finding:
    """It cannot be told from here, or there is nothing to look at."""
    return Finding(Level.SKIPPED, detail)


def warning(detail: str, remedy: str) -> Finding:
    """It works, but not well, or not for long."""
    return Finding(Level.WARNING, detail, remedy)


def failed(detail: str, remedy: str) -> Finding:
    """A promise of the gateway does not hold like this."""
    return Finding(Level.FAILED, detail, remedy)
