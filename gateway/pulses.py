"""How to see that the parts get on which may have something to do and yet do nothing.

The others either sleep and look, or wait for the broker to confirm, and a connection that is gone ends that wait.
"""

from typing import Final, Protocol

from gateway.heartbeats import Pulse
from gateway.parking import Parking
from gateway.pipeline import Pipeline
from gateway.ports import EventStore
from gateway.projector import Projector

STEP: Final = 60.0
"""Seconds that one step may take: far more than a healthy one on a slow disk."""


class Connecting(Protocol):
    """The link to the broker."""

    @property
    def is_up(self) -> bool:
        """Whether there is a connection."""
        ...

    @property
    def attempts(self) -> int:
        """How many were begun."""
        ...


def of_lanes(pipeline: Pipeline, parking: Parking, patience: float) -> Pulse:
    """A batch is worked on until it is done; for a store that is known to be away, commands wait in another place.

    Args:
        pipeline: whose lanes they are.
        parking: knows whether the store is away.
        patience: seconds that a command waits for the store.
    """
    return Pulse(
        lambda: pipeline.oldest_batch is not None and parking.since is None,
        lambda: pipeline.oldest_batch,
        STEP + patience,
    )


def of_projector(projector: Projector, store: EventStore) -> Pulse:
    """The read cache follows the log."""
    return Pulse(lambda: projector.position < store.newest, lambda: projector.position, STEP)


def of_link(link: Connecting, connect_timeout: float, longest_pause: float) -> Pulse:
    """Without a connection, one attempt follows the other. A name server takes its time as well."""
    return Pulse(lambda: not link.is_up, lambda: link.attempts, 2 * STEP + connect_timeout + longest_pause)
