"""How many events are asked for at once: fewer after a failure, or what takes longer than a call may had no end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.errors import StoreUnavailable

SMALLEST: Final = 10
"""How many are asked for where reading more has failed again and again."""


class PageSize:
    """Grows with each success up to the most, and falls to a quarter with each failure.

    Attributes:
        now: how many to ask for.
    """

    def __init__(self, most: int) -> None:
        self.now = most
        self._most = most

    @contextmanager
    def tried(self) -> Iterator[None]:
        """Around an attempt to read so many."""
        try:
            yield
        except StoreUnavailable:
            self.now = max(self.now // 4, SMALLEST)
            raise
        self.now = min(2 * self.now, self._most)
