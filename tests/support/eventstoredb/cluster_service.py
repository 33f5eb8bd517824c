"""The calls about the cluster, and about what this server does not have."""

from time import time_ns
from typing import Any, Final

from tests.support.eventstoredb.node import Node, Role
from tests.support.eventstoredb.protos import gossip_pb2, gossip_pb2_grpc, persistent_pb2, persistent_pb2_grpc

MemberInfo = gossip_pb2.MemberInfo
STATES: Final = {
    Role.LEADER: MemberInfo.Leader,
    Role.FOLLOWER: MemberInfo.Follower,
    Role.REPLICA: MemberInfo.ReadOnlyReplica,
    Role.STARTING: MemberInfo.Initializing,
}


class GossipService(gossip_pb2_grpc.GossipServicer):
    """Who is in the cluster."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def Read(self, _request: Any, _context: Any) -> gossip_pb2.ClusterInfo:  # noqa: N802 - the stub calls it so
        """This node, and the others that it knows: at least the leader if that is another."""
        members = [_member(STATES[node.role], *node.address, node.is_alive) for node in (self._node, *self._node.peers)]
        if not self._node.peers and self._node.role in {Role.FOLLOWER, Role.REPLICA}:
            members.append(_member(MemberInfo.Leader, *self._node.leader, is_alive=True))
        return gossip_pb2.ClusterInfo(members=members)


class PersistentSubscriptionsService(persistent_pb2_grpc.PersistentSubscriptionsServicer):
    """There are none."""

    async def List(self, _request: Any, _context: Any) -> persistent_pb2.ListResp:  # noqa: N802 - the stub calls it so
        """Nothing."""
        return persistent_pb2.ListResp()


def _member(state: Any, host: str, port: int, is_alive: bool) -> gossip_pb2.MemberInfo:  # noqa: FBT001 - as in gossip
    end_point = gossip_pb2.EndPoint(address=host, port=port)
    return MemberInfo(state=state, is_alive=is_alive, http_end_point=end_point, time_stamp=time_ns() // 100)
