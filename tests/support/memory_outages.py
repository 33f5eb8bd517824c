"""Pending outages in memory."""

from collections.abc import Sequence

from gateway.errors import StoreUnavailable
from gateway.messages import PendingOutage


class MemoryPendingOutages:
    """What is kept survives a restart of what uses it.

    Attributes:
        removable: whether the disk lets anything be removed.
    """

    def __init__(self) -> None:
        self.kept: dict[str, PendingOutage] = {}
        self.removable = True

    async def load(self) -> Sequence[PendingOutage]:
        return tuple(self.kept.values())

    async def keep(self, outage: PendingOutage) -> None:
        self.kept[outage.id] = outage

    async def remove(self, id: str) -> None:
        if not self.removable:
            raise StoreUnavailable("the disk is away")
        del self.kept[id]
