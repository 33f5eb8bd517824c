"""A run of the command, as a test looks at it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run of the command did."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        """The words of each line of output."""
        return [line.split() for line in self.out.splitlines()]

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON object on each line of output."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]
