"""The event store that gateways under test use: embedded, a stand-in server of their own, or one that runs already."""

import os
from pathlib import Path
from typing import Final
from uuid import uuid4

from tests.support.eventstoredb_process import EventStoreProcess

EMBEDDED: Final = "embedded"
STAND_IN: Final = "stand-in"

CHOSEN: Final = os.environ.get("EVENT_STORE", EMBEDDED)
"""One of these two, or the URL of a server; from the environment, because gateways are made in many places."""


class ChosenStore:
    """Where one gateway under test keeps its events.

    Attributes:
        process: of the stand-in, started with the first use; ``None`` for the others.
        prefix: of its streams, so that tests on one server do not meet.
    """

    def __init__(self, directory: Path) -> None:
        self.process = EventStoreProcess(directory) if CHOSEN == STAND_IN else None
        self.prefix = "" if CHOSEN in {EMBEDDED, STAND_IN} else f"test-{uuid4().hex}."

    def settings(self) -> dict[str, object]:
        """For the table ``event_store``; the stand-in runs from now on."""
        if CHOSEN == EMBEDDED:
            return {}
        if self.process is not None:
            return {"url": self.process.start().url}
        return {"url": CHOSEN, "prefix": self.prefix}

    def close(self) -> None:
        """Leave nothing running."""
        if self.process is not None:
            self.process.close()
