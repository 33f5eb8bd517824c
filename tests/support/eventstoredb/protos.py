"""The generated messages and stubs, from whichever of the two clients is installed.

They cannot be imported together. What has no types gets them here.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final

import grpc  # type: ignore[import-untyped]
from google.protobuf import any_pb2, empty_pb2  # type: ignore[import-untyped]

if find_spec("kurrentdbclient") is None:
    from esdbclient.protos.Grpc import (
        gossip_pb2,
        gossip_pb2_grpc,
        persistent_pb2,
        persistent_pb2_grpc,
        shared_pb2,
        status_pb2,
        streams_pb2,
        streams_pb2_grpc,
    )
else:
    from kurrentdbclient.protos.v1 import (  # type: ignore[import-not-found,no-redef]
        gossip_pb2,
        gossip_pb2_grpc,
        persistent_pb2,
        persistent_pb2_grpc,
        shared_pb2,
        status_pb2,
        streams_pb2,
        streams_pb2_grpc,
    )

add_streams: Final[Callable[[Any, Any], None]] = streams_pb2_grpc.add_StreamsServicer_to_server
add_gossip: Final[Callable[[Any, Any], None]] = gossip_pb2_grpc.add_GossipServicer_to_server
add_persistent_subscriptions: Final[Callable[[Any, Any], None]] = (
    persistent_pb2_grpc.add_PersistentSubscriptionsServicer_to_server
)
streams_stub: Final[Callable[[Any], Any]] = streams_pb2_grpc.StreamsStub
gossip_stub: Final[Callable[[Any], Any]] = gossip_pb2_grpc.GossipStub
persistent_subscriptions_stub: Final[Callable[[Any], Any]] = persistent_pb2_grpc.PersistentSubscriptionsStub

__all__ = [
    "add_gossip",
    "add_persistent_subscriptions",
    "add_streams",
    "any_pb2",
    "empty_pb2",
    "gossip_pb2",
    "gossip_pb2_grpc",
    "gossip_stub",
    "grpc",
    "persistent_pb2",
    "persistent_pb2_grpc",
    "persistent_subscriptions_stub",
    "shared_pb2",
    "status_pb2",
    "streams_pb2",
    "streams_pb2_grpc",
    "streams_stub",
]
