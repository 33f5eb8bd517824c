"""How EventStoreDB is reached, and what of it belongs to the log."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class EsdbOptions:
    """How EventStoreDB is reached, and what of it belongs to the log.

    Attributes:
        url: without user and password.
        categories: of the streams that belong to the log.
        prefix: before the name of each of them.
        deadline: seconds that a call may take.
        in_flight: calls at once.
        keepalive: seconds between two signs of life; a connection is dead after twice as long.
        silence: seconds without a word after which a subscription is begun anew: an idle log is silent, and so is a
            node that has lost the others.
    """

    url: str
    categories: Sequence[str]
    prefix: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    deadline: float = 5.0
    in_flight: int = 16
    keepalive: float = 10.0
    silence: float = 30.0
