"""One node: its place in the cluster, who may speak to it, and what it remembers."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.support.eventstoredb import refusals
from tests.support.eventstoredb.faults import Faults, Kind
from tests.support.eventstoredb.store import Store


class Role(StrEnum):
    """Of a node in its cluster."""

    LEADER = "leader"
    FOLLOWER = "follower"
    REPLICA = "replica"
    STARTING = "starting"
    """Not ready to serve anybody."""


@dataclass(slots=True)
class Node:
    """What every call is checked against; may be changed while the node runs.

    Attributes:
        store, faults: what it has, and what goes wrong.
        role: of this node.
        leader: host and port of another node that is the leader, for one that is not.
        read_only: whether nobody may write.
        user, password: of the one user; without a name, nobody has to say who they are.
        max_append_size: of all events of an append together, in bytes.
        write_timeout: seconds that a write may take, whatever the client allows.
        generation: of the server: "23" aborts a slow subscriber, "24" lets it catch up again.
        address: host and port that it listens on.
        is_alive: whether it does.
        peers: the other nodes of its cluster, where they are known.
    """

    store: Store
    faults: Faults
    role: Role = Role.LEADER
    leader: tuple[str, int] = ("127.0.0.1", 0)
    read_only: bool = False
    user: str = ""
    password: str = ""
    max_append_size: int = 1024 * 1024
    write_timeout: float = 2.0
    generation: str = "24"
    address: tuple[str, int] = ("127.0.0.1", 0)
    is_alive: bool = False
    peers: Sequence["Node"] = ()

    def authorize(self, headers: Mapping[str, str | bytes]) -> None:
        """Check who calls.

        Raises:
            Refusal: nobody says so, or with the wrong password.
        """
        if not self.user:
            return
        given = headers.get("authorization")
        if given is None:
            raise refusals.access_denied()
        wanted = "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()
        if (given.decode() if isinstance(given, bytes) else given) != wanted:
            raise refusals.unauthenticated()

    def check_leadership(self, method: str, stream: str, headers: Mapping[str, str | bytes]) -> None:
        """Check that this node is the leader, where the caller insists on one.

        Raises:
            Refusal: it is not.
        """
        if headers.get("requires-leader") != "true":
            return
        fault = self.faults.take(Kind.NOT_LEADER, method, stream)
        if fault is not None:
            raise refusals.not_leader(fault.host, fault.port)
        if self.role in {Role.FOLLOWER, Role.REPLICA}:
            raise refusals.not_leader(*self.leader)
