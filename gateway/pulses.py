"""How to see that the parts get on which may have something to do and yet do nothing.

The others either sleep and look, or wait for the broker to confirm, and a connection that is gone ends that wait. A
store or a broker that is slow, or answers nothing, keeps whoever waits for it, and no restart would heal that: so
before a part is taken for stuck, those that it may wait for are asked, and have to answer.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.errors import LinkLost
from gateway.feed import Feed
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


@dataclass(frozen=True, slots=True)
class Outside:
    """Those that the parts wait for.

    Attributes:
        store: the event store.
        stream: any of its streams.
        tell: publishes something that does no harm.
    """

    store: EventStore
    stream: str
    tell: Callable[[], "asyncio.Future[None]"]

    async def store_answers(self) -> bool:
        """Asks the store for something that it does not know by heart."""
        await self.store.read_stream(self.stream, limit=1)
        return True

    async def broker_confirms(self) -> bool:
        """Publishes, behind all that is on its way; a broker that refuses it has answered, too."""
        published = self.tell()
        await asyncio.wait((published,))
        return not published.cancelled() and not isinstance(published.exception(), LinkLost)

    async def both(self) -> bool:
        """Whether the store answers, and the broker."""
        return await self.store_answers() and await self.broker_confirms()


def of_lanes(pipeline: Pipeline, parking: Parking, outside: Outside, patience: float) -> Pulse:
    """A batch is worked on until it is done; for a store that is known to be away, commands wait in another place.

    What is told to be sent again is waited for until the broker has it.

    Args:
        pipeline: whose lanes they are.
        parking: knows whether the store is away.
        outside: what they wait for.
        patience: seconds that a command waits for the store.
    """
    return Pulse(
        lambda: pipeline.oldest_batch is not None and parking.since is None,
        lambda: pipeline.oldest_batch,
        STEP + patience,
        outside.both,
    )


def of_parked(pipeline: Pipeline, parking: Parking, link: Connecting, outside: Outside, patience: float) -> Pulse:
    """Parked commands are taken up once the store is back and there is a broker to tell.

    An attempt that fails is one, so a disk that is full makes nothing late. Until the store has served somebody, only
    what nobody works on is late: a lane may be waiting for a store that reads and does not write.
    """

    def behind() -> bool:
        back = parking.since is None or pipeline.oldest_batch is None
        return link.is_up and parking.count > 0 and not parking.away and back

    return Pulse(behind, lambda: parking.attempts, STEP + patience, outside.both)


def of_projector(projector: Projector, store: EventStore) -> Pulse:
    """The read cache follows the log."""

    async def has_more() -> bool:
        # the newest position that a server tells need not be that of an event of ours
        return bool(await store.read_all(after=projector.position, limit=1))

    return Pulse(lambda: projector.position < store.newest, lambda: projector.position, STEP, has_more)


def of_feed(feed: Feed, projector: Projector, link: Connecting, outside: Outside) -> Pulse:
    """Events go out while there is a broker, behind the read cache, which has a pulse of its own."""

    def behind() -> bool:
        has_begun = feed.attempts > 0
        may_go_on = link.is_up and has_begun and feed.wanted <= projector.position
        return may_go_on and feed.position < outside.store.newest

    async def has_more() -> bool:
        return bool(await outside.store.read_all(after=feed.position, limit=1)) and await outside.broker_confirms()

    return Pulse(behind, lambda: (feed.position, feed.attempts), STEP, has_more)


def of_link(link: Connecting, outside: Outside, longest_pause: float) -> Pulse:
    """Without a connection, one attempt follows the other. A disk that does not answer holds them up."""
    return Pulse(lambda: not link.is_up, lambda: link.attempts, STEP + longest_pause, outside.store_answers)
