"""The stand-in EventStoreDB server, on a loop of the caller's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.eventstoredb.cluster_service import GossipService, PersistentSubscriptionsService
from tests.support.eventstoredb.faults import Faults
from tests.support.eventstoredb.log import EventLog
from tests.support.eventstoredb.node import Node, Role
from tests.support.eventstoredb.protos import add_gossip, add_persistent_subscriptions, add_streams, grpc
from tests.support.eventstoredb.store import Store
from tests.support.eventstoredb.streams_service import StreamsService

HOST: Final = "127.0.0.1"
MAX_MESSAGE: Final = 16 * 1024 * 1024 - 10_000
SETTLING: Final = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """How a server is started.

    Attributes:
        data: the file that keeps the log; without one, it ends with the server.
        port: to listen on; 0 for any.
        remembered_ids: how many ids an append with ANY is compared with.
        max_append_size: of all events of an append together, in bytes.
        max_streams: calls at a time on one connection; 0 for no limit.
        generation: "23" aborts a slow subscriber, "24" lets it catch up again.
        role, leader: see :class:`Node`.
        read_only: whether nobody may write.
        certificate, key: PEM files; without them, there is no TLS.
        user, password: of the one user; without a name, nobody has to say who they are.
    """

    data: Path | None = None
    port: int = 0
    remembered_ids: int = 60_000
    max_append_size: int = 1024 * 1024
    max_streams: int = 0
    generation: str = "24"
    role: Role = Role.LEADER
    leader: tuple[str, int] = (HOST, 0)
    read_only: bool = False
    certificate: Path | None = None
    key: Path | None = None
    user: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class StandIn:
    """A running server.

    Attributes:
        port: that it listens on.
        node: what its calls are checked against.
    """

    port: int
    node: Node

    @property
    def url(self) -> str:
        """For a client without TLS."""
        return f"esdb://{HOST}:{self.port}?Tls=false"

    @property
    def faults(self) -> Faults:
        """What goes wrong."""
        return self.node.faults

    @property
    def log(self) -> EventLog:
        """What was committed."""
        return self.node.store.log


@asynccontextmanager
async def serve(options: Options) -> AsyncIterator[StandIn]:
    """Listen until the block ends; whoever is connected then is cut off."""
    store = Store(options.data, remembered_ids=options.remembered_ids)
    node = Node(
        store,
        Faults(store.news.announce),
        role=options.role,
        leader=options.leader,
        read_only=options.read_only,
        user=options.user,
        password=options.password,
        max_append_size=options.max_append_size,
        generation=options.generation,
    )
    try:
        async with settling(), serve_node(node, options) as server:
            yield server
    finally:
        store.close()


@asynccontextmanager
async def serve_node(node: Node, options: Options) -> AsyncIterator[StandIn]:
    """Listen for one node until the block ends; of the options only those about the connection count."""
    server = grpc.aio.server(options=_channel_arguments(options))
    node.address = HOST, _listen(server, options)
    add_streams(StreamsService(node), server)
    add_gossip(GossipService(node), server)
    add_persistent_subscriptions(PersistentSubscriptionsService(), server)
    await server.start()
    node.is_alive = True
    try:
        yield StandIn(node.address[1], node)
    finally:
        node.is_alive = False
        await server.stop(None)


@asynccontextmanager
async def settling() -> AsyncIterator[None]:
    """At the end, let the tasks end that gRPC leaves behind for a moment, of calls to the servers as well."""
    others = asyncio.all_tasks()
    yield
    # the text tells the file that its coroutine is from
    of_grpc = {task for task in asyncio.all_tasks() - others if "grpc" in repr(task)}
    if of_grpc:
        await asyncio.wait(of_grpc, timeout=SETTLING)


def _listen(server: "grpc.aio.Server", options: Options) -> int:
    address = f"{HOST}:{options.port}"
    if options.certificate is None or options.key is None:
        return int(server.add_insecure_port(address))
    pair = (options.key.read_bytes(), options.certificate.read_bytes())
    return int(server.add_secure_port(address, grpc.ssl_server_credentials([pair])))


def _channel_arguments(options: Options) -> list[tuple[str, int]]:
    arguments = [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.so_reuseport", 0),  # two servers on one port would share the calls
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 100),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    if options.max_streams:
        arguments.append(("grpc.max_concurrent_streams", options.max_streams))
    return arguments
