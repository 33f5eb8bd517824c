"""What a message from the broker, and the coming and going of its connection, mean to the parts of the gateway."""

import asyncio
from dataclasses import dataclass

import structlog

from gateway.adapters.mqtt import Connected
from gateway.adapters.sqlite_identity import SqliteCursors
from gateway.broker_drops import DROPPED, BrokerDrops
from gateway.errors import StoreUnavailable
from gateway.feed import Feed
from gateway.found import SESSION
from gateway.health import Health
from gateway.homeassistant import BIRTH, Discovery
from gateway.outage_watch import OutageWatch
from gateway.pipeline import Pipeline
from gateway.ports import Delivery
from gateway.queries.desk import QueryDesk
from gateway.retained import Retained
from gateway.topics import Topics

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class BrokerSession:
    """Tells each part what concerns it.

    Attributes:
        known: whether the broker should know a session of ours.
        announced: whether Home Assistant is to be told of the devices.
    """

    known: bool
    announced: bool
    group: asyncio.TaskGroup
    cursors: SqliteCursors
    topics: Topics
    discovery: Discovery
    pipeline: Pipeline
    queries: QueryDesk
    health: Health
    outages: OutageWatch
    retained: Retained
    feed: Feed
    drops: BrokerDrops

    def deliver(self, delivery: Delivery) -> None:
        """A message came."""
        if self.topics.is_query(delivery.topic):
            self.queries.accept(delivery)
        elif delivery.topic == self.discovery.birth_topic:
            # also where it is not enabled any more: the broker goes on delivering it to our session
            delivery.acknowledge()
            # what is retained came with a connection, which sends everything anyway
            if delivery.payload == BIRTH and not delivery.retain and self.announced:
                self.retained.send_again()
        elif delivery.topic == DROPPED:
            self.drops.take(delivery)
        else:
            self.pipeline.accept(delivery)

    def connected(self, connected: Connected) -> None:
        """A connection stands."""
        lost = self.known and not connected.session_present
        if lost:
            log.warning("session_lost", epoch=connected.epoch, meaning="what the broker held for us is gone")
        self.health.connected(connected.epoch, session_lost=lost)
        self.outages.connected(session_lost=lost)
        self.retained.connected()
        self.feed.connected()
        self.pipeline.connected()
        if not self.known:
            self.known = True
            self.group.create_task(self._remember(), name="remember session")

    def lost(self, reason: str) -> None:
        """It is gone, or could not be made."""
        self.outages.lost(reason)
        self.health.lost()
        self.retained.lost()
        self.feed.lost()
        self.drops.lost()
        self.pipeline.lost()

    async def _remember(self) -> None:
        """From now on a missing session is a loss, also after a restart."""
        try:
            await self.cursors.save_cursor(SESSION, 1)
        except StoreUnavailable as error:
            log.warning("session_not_remembered", error=str(error))
