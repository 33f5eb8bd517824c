"""A link, and everything that it has told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.adapters.mqtt import Connected, Link, LinkEvents, LinkOptions
from gateway.adapters.mqtt_connection import MqttDelivery

PATIENCE: Final = 20.0
LEAVING: Final = 0.2


@dataclass
class LinkLog:
    """What a link has told its owner.

    Attributes:
        link: the one that tells.
    """

    deliveries: list[MqttDelivery] = field(default_factory=list)
    connected: list[Connected] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    epoch: int = 0
    acknowledging: bool = False
    link: Link = field(init=False)

    async def until_delivered(self, count: int) -> list[MqttDelivery]:
        await self._until(lambda: len(self.deliveries) >= count)
        return self.deliveries

    async def until_connected(self, count: int = 1) -> Connected:
        await self._until(lambda: len(self.connected) >= count)
        return self.connected[count - 1]

    async def until_lost(self, count: int = 1) -> str:
        await self._until(lambda: len(self.lost) >= count)
        return self.lost[count - 1]

    def deliver(self, delivery: MqttDelivery) -> None:
        self.deliveries.append(delivery)
        if self.acknowledging:
            delivery.acknowledge()

    async def next_epoch(self) -> int:
        self.epoch += 1
        return self.epoch

    @staticmethod
    async def _until(holds: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running_link(port: int, *, acknowledging: bool = False, **options: Any) -> AsyncIterator[LinkLog]:
    """A link that runs until the block ends."""
    log = LinkLog(acknowledging=acknowledging)
    events = LinkEvents(log.deliver, log.connected.append, log.lost.append, log.next_epoch, _will)
    given = {"client_id": "gateway-1", "port": port, "backoff": (0.01, 0.1), **options}
    log.link = Link(LinkOptions(**given), ("cmd/#",))
    task = asyncio.create_task(log.link.run(events), name="link under test")
    try:
        yield log
    finally:
        await log.link.close(LEAVING)
        task.cancel()
        await asyncio.wait((task,))


def _will(epoch: int) -> tuple[str, bytes]:
    return "status", f"offline {epoch}".encode()
