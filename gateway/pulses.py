"""How to see that the parts get on which may have something to do and yet do nothing.

The others either sleep and look, or wait for the broker to confirm, and a connection that is gone ends that wait.
"""

from functools import partial
from typing import Final, Protocol

from gateway.heartbeats import Pulse
from gateway.parking import Parking
from gateway.pipeline import Pipeline
from gateway.ports import EventStore
from gateway.projector import Projector

STEP: Final = 300.0
"""Seconds that one step may take: far more than a healthy one, such as a device of a million events, on a slow disk."""


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


def of_lanes(pipeline: Pipeline, parking: Parking, store: EventStore, stream: str, patience: float) -> Pulse:
    """A batch is worked on until it is done; for a store that is known to be away, commands wait in another place.

    Args:
        pipeline: whose lanes they are.
        parking: knows whether the store is away.
        store: where they write to.
        stream: any of its streams.
        patience: seconds that a command waits for the store.
    """
    return Pulse(
        lambda: pipeline.oldest_batch is not None and parking.since is None,
        lambda: pipeline.oldest_batch,
        STEP + patience,
        partial(_answers, store, stream),
    )


def of_projector(projector: Projector, store: EventStore) -> Pulse:
    """The read cache follows the log."""

    async def has_more() -> bool:
        # the newest position that a server tells need not be that of an event of ours
        return bool(await store.read_all(after=projector.position, limit=1))

    return Pulse(lambda: projector.position < store.newest, lambda: projector.position, STEP, has_more)


def of_link(link: Connecting, store: EventStore, stream: str, longest_pause: float) -> Pulse:
    """Without a connection, one attempt follows the other. A disk that does not answer holds them up."""
    return Pulse(lambda: not link.is_up, lambda: link.attempts, STEP + longest_pause, partial(_answers, store, stream))


async def _answers(store: EventStore, stream: str) -> bool:
    """Asks the store for something that it does not know by heart."""
    await store.read_stream(stream, limit=1)
    return True
