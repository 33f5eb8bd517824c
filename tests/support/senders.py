"""Senders that follow the protocol: what is deferred is sent again with the same id."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from typing import Final

from tests.support.judge import Sent
from tests.support.technician import Body, Technician

FLEET: Final = tuple(f"pump-{number}" for number in range(4))
SOME: Final = 10


class Senders:
    """Each device reports, one command after the other, and sends each again until it is settled.

    Attributes:
        sent: the commands, in the order in which they were sent first.
        deferred, settled: how many answers of these kinds each device was given.
    """

    def __init__(self, tech: Technician) -> None:
        self.sent: list[Sent] = []
        self.deferred: defaultdict[str, int] = defaultdict(int)
        self.settled: defaultdict[str, int] = defaultdict(int)
        self._tech = tech
        self._stop = False

    async def run(self, device: str) -> None:
        """Register and report, until it is told to stop."""
        await self._settle(Sent(device, device, "register", f"{device}-register", {"model": "T-1000"}, 201))
        for number in count():
            if self._stop:
                return
            data = {"properties": {"count": number, "note": "x" * 200}}
            await self._settle(Sent(device, device, "report", f"{device}-{number}", data, 200))

    def stop(self) -> None:
        """Send nothing new; what was sent is still settled."""
        self._stop = True

    async def until(self, counted: Callable[[], dict[str, int]]) -> None:
        """Wait until some more have been counted of each device."""
        before = dict(counted())
        async with asyncio.timeout(20):
            while any(counted().get(device, 0) < before.get(device, 0) + SOME for device in FLEET):
                await asyncio.sleep(0.01)

    def final(self) -> dict[str, list[Body]]:
        """The answers that settle a command, by its id."""
        return {
            id_: [ack.body for ack in acks if ack.body["status"] != "deferred"] for id_, acks in self._tech.acks.items()
        }

    async def _settle(self, one: Sent) -> None:
        self.sent.append(one)
        while (await self._tech.send(one.actor, one.device, one.command, one.data, id=one.id))["status"] == "deferred":
            self.deferred[one.device] += 1
            await asyncio.sleep(0.01)
        self.settled[one.device] += 1
