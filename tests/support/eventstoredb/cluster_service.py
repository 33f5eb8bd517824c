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

    def __init__(self, node: Node, host: str, port: int) -> None:
        self._node = node
        self._address = (host, port)

    async def Read(self, _request: Any, _context: Any) -> gossip_pb2.ClusterInfo:  # noqa: N802 - the stub calls it so
        """This node, and the leader if that is another."""
        members = [_member(STATES[self._node.role], *self._address)]
        if self._node.role in {Role.FOLLOWER, Role.REPLICA}:
            members.append(_member(MemberInfo.Leader, *self._node.leader))
        return gossip_pb2.ClusterInfo(members=members)


class PersistentSubscriptionsService(persistent_pb2_grpc.PersistentSubscriptionsServicer):
    """There are none."""

    async def List(self, _request: Any, _context: Any) -> persistent_pb2.ListResp:  # noqa: N802 - the stub calls it so
        """Nothing."""
        return persistent_pb2.ListResp()


def _member(state: Any, host: str, port: int) -> gossip_pb2.MemberInfo:
    end_point = gossip_pb2.EndPoint(address=host, port=port)
    return MemberInfo(state=state, is_alive=True, http_end_point=end_point, time_stamp=time_ns() // 100)
