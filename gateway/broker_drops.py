"""How many messages the broker has dropped: it tells so itself, where it lets the gateway read it."""

from contextlib import suppress
from typing import Final

from gateway.ports import Delivery

DROPPED: Final = "$SYS/broker/publish/messages/dropped"
"""mosquitto's topic for it."""


class BrokerDrops:
    """Listens.

    Attributes:
        count: of all clients, since the broker started; ``None`` while it is not told.
    """

    def __init__(self) -> None:
        self.count: int | None = None

    def take(self, delivery: Delivery) -> None:
        """A message on this topic came."""
        delivery.acknowledge()
        # whatever else stands there, it is no number of messages
        with suppress(ValueError):
            self.count = max(0, int(delivery.payload[:20]))

    def lost(self) -> None:
        """The broker is gone; another one may come in its place."""
        self.count = None
