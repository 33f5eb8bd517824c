"""The current figures of every part, as health tells them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway import __version__
from gateway.custom_projection import custom_figures
from gateway.feed import Feed
from gateway.outages import OutageLedger
from gateway.parking import Parking
from gateway.pipeline import Pipeline
from gateway.ports import EventStore, ReadModel
from gateway.projector import Projector
from gateway.retained import Retained


@dataclass(frozen=True, slots=True)
class Figures:
    """Asks every part.

    Attributes:
        gateway: its name.
        store_figures: what is told of the event store beside the rest.
        epoch: number of the current broker connection.
        connected: whether it stands.
        dropped: messages that the broker says it has dropped.
    """

    gateway: str
    store: EventStore
    store_figures: Callable[[], dict[str, Any]]
    parking: Parking
    projector: Projector
    cache: ReadModel
    feed: Feed
    retained: Retained
    pipeline: Pipeline
    ledger: OutageLedger
    epoch: Callable[[], int]
    connected: Callable[[], bool]
    dropped: Callable[[], int | None]

    def __call__(self) -> dict[str, Any]:
        """All figures."""
        head, parking = self.store.newest, self.parking
        custom = custom_figures(self.cache)
        return {
            "gateway": self.gateway,
            "version": __version__,
            "epoch": self.epoch(),
            "broker": {"connected": self.connected(), "dropped": self.dropped()},
            "in_flight": self.pipeline.in_flight,
            "event_store": {
                **self.store_figures(),
                "head": head,
                "available": parking.since is None,
                **({"away_since": parking.since, "reason": parking.reason} if parking.since is not None else {}),
            },
            "parked": {"commands": parking.count, "devices": len(parking.devices)},
            "read_cache": {
                "position": self.projector.position,
                "lag": max(head - self.projector.position, 0),
                "rebuilding": not self.projector.caught_up.is_set(),
                **({"projections": custom} if custom else {}),
            },
            "feed": {"position": self.feed.position, "lag": max(head - self.feed.position, 0)},
            "retained": {"waiting": self.retained.waiting},
            "outages": self.ledger.figures(),
        }
