"""Three nodes with one log between them: as if each commit reached all of them before it is answered."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from tests.support.eventstoredb.faults import Faults
from tests.support.eventstoredb.node import Node, Role
from tests.support.eventstoredb.server import Options, serve_node, settling
from tests.support.eventstoredb.store import Store

NODES: Final = 3


class Cluster:
    """One node leads; the others say so.

    Attributes:
        nodes: all of them, alive or not.
        store: what they have in common.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.nodes = [Node(store, Faults(store.news.announce), role=Role.FOLLOWER) for _ in range(NODES)]
        self._running: dict[int, AsyncExitStack] = {}
        for node in self.nodes:
            node.peers = [peer for peer in self.nodes if peer is not node]

    @property
    def url(self) -> str:
        """Of all nodes, for a client without TLS."""
        addresses = ",".join(f"{host}:{port}" for host, port in (node.address for node in self.nodes))
        return f"esdb://{addresses}?Tls=false"

    @property
    def leader(self) -> int:
        """Index of the node that was elected last."""
        return next(index for index, node in enumerate(self.nodes) if node.role is Role.LEADER)

    async def start(self, index: int) -> None:
        """Let a node run; again on the port that it had before."""
        node = self.nodes[index]
        stack = self._running[index] = AsyncExitStack()
        await stack.enter_async_context(serve_node(node, Options(port=node.address[1])))

    async def stop(self, index: int) -> None:
        """Cut off whoever is connected to a node, and let nobody connect."""
        await self._running.pop(index).aclose()

    def lead(self, index: int) -> None:
        """Elect a node: from now on no other takes writes."""
        for node in self.nodes:
            node.role = Role.FOLLOWER
            node.leader = self.nodes[index].address
        self.nodes[index].role = Role.LEADER


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    """Three nodes, of which the last one leads; none runs any more at the end."""
    store = Store(None, remembered_ids=Options().remembered_ids)
    one = Cluster(store)
    async with settling():
        try:
            for index in range(NODES):
                await one.start(index)
            one.lead(NODES - 1)
            yield one
        finally:
            for index, node in enumerate(one.nodes):
                if node.is_alive:
                    await one.stop(index)
            store.close()
