"""A node that is not the leader, or not ready, and what it says about its cluster."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.adapters import esdb_client as esdb
from tests.support.eventstoredb.node import Role
from tests.support.eventstoredb.protos import (
    empty_pb2,
    gossip_pb2,
    gossip_stub,
    grpc,
    persistent_pb2,
    persistent_subscriptions_stub,
    shared_pb2,
)
from tests.support.eventstoredb.raw_client import RawClient, batch, proposed, raw_client, read_request
from tests.support.eventstoredb.records import NO_STREAM
from tests.support.eventstoredb.server import StandIn
from tests.support.eventstoredb_process import stand_in

LEADER = ("127.0.0.1", 2113)

CALLS: dict[str, Callable[[RawClient], Any]] = {
    "BatchAppend": lambda raw: raw.append("a", NO_STREAM, proposed()),
    "Append": lambda raw: raw.append_single("a", NO_STREAM, proposed()),
    "Delete": lambda raw: raw.delete("a", NO_STREAM),
    "Tombstone": lambda raw: raw.tombstone("a", NO_STREAM),
    "Read": lambda raw: raw.read(),
}


async def failure(raw: RawClient, method: str) -> Any:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await CALLS[method](raw)
    return caught.value


def assert_names_leader(error: Any, host: str, port: int) -> None:
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "Leader info available")
    trailers = error.trailing_metadata()
    assert trailers["exception"] == "not-leader"
    assert (trailers["leader-endpoint-host"], trailers["leader-endpoint-port"]) == (host, str(port))


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.REPLICA])
async def test_a_follower_names_the_leader_to_those_who_require_one(
    server: StandIn, raw: RawClient, method: str, role: Role
) -> None:
    server.node.role, server.node.leader = role, LEADER

    assert_names_leader(await failure(raw, method), *LEADER)


async def test_a_follower_serves_those_who_require_no_leader(server: StandIn, raw: RawClient) -> None:
    server.node.role = Role.FOLLOWER

    answers = [answer async for answer in raw.streams.Read(read_request())]
    (appended,) = await raw.batches(batch("a", NO_STREAM, proposed()), metadata=())

    assert len(answers) == 1
    assert appended.WhichOneof("result") == "success"


async def test_what_a_follower_would_refuse_in_an_append_is_refused_before_it_names_the_leader(
    server: StandIn, raw: RawClient
) -> None:
    server.node.role = Role.FOLLOWER

    answer = await raw.append("a", NO_STREAM, proposed(type=""))

    assert answer.error.details.Is(shared_pb2.BadRequest.DESCRIPTOR)


async def test_a_fault_names_another_leader_once(server: StandIn, raw: RawClient) -> None:
    server.faults.set("not_leader", host="10.0.0.7", port=2114)

    assert_names_leader(await failure(raw, "BatchAppend"), "10.0.0.7", 2114)
    assert (await CALLS["BatchAppend"](raw)).WhichOneof("result") == "success"


async def test_a_fault_about_the_leader_waits_for_a_call_that_requires_one(server: StandIn, raw: RawClient) -> None:
    server.faults.set("not_leader", port=2114)

    (answer,) = await raw.batches(batch("a", NO_STREAM, proposed()), metadata=())

    assert answer.WhichOneof("result") == "success"
    assert_names_leader(await failure(raw, "BatchAppend"), "127.0.0.1", 2114)


@pytest.mark.parametrize("method", [method for method in CALLS if method != "BatchAppend"])
async def test_a_starting_node_is_unavailable(server: StandIn, raw: RawClient, method: str) -> None:
    server.node.role = Role.STARTING

    error = await failure(raw, method)

    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "Server Is Not Ready")


async def test_a_starting_node_says_so_inside_the_answer_to_a_batch(server: StandIn, raw: RawClient) -> None:
    server.node.role = Role.STARTING

    answer = await raw.append("a", NO_STREAM, proposed())

    assert answer.error.details.Is(empty_pb2.Empty.DESCRIPTOR)
    assert answer.error.message == "Server Is Not Ready"


@pytest.mark.parametrize(
    ("role", "states"),
    [
        (Role.LEADER, [gossip_pb2.MemberInfo.Leader]),
        (Role.FOLLOWER, [gossip_pb2.MemberInfo.Follower, gossip_pb2.MemberInfo.Leader]),
        (Role.REPLICA, [gossip_pb2.MemberInfo.ReadOnlyReplica, gossip_pb2.MemberInfo.Leader]),
        (Role.STARTING, [gossip_pb2.MemberInfo.Initializing]),
    ],
)
async def test_gossip_tells_the_node_and_its_leader(
    server: StandIn, raw: RawClient, role: Role, states: list[Any]
) -> None:
    server.node.role, server.node.leader = role, LEADER

    info = await gossip_stub(raw.channel).Read(shared_pb2.Empty())

    assert [member.state for member in info.members] == states
    addresses = [(member.http_end_point.address, member.http_end_point.port) for member in info.members]
    assert addresses == [("127.0.0.1", server.port), LEADER][: len(states)]
    assert all(member.is_alive for member in info.members)


async def test_there_are_no_persistent_subscriptions(raw: RawClient) -> None:
    answer = await persistent_subscriptions_stub(raw.channel).List(persistent_pb2.ListReq())

    assert list(answer.subscriptions) == []


async def test_a_client_that_knows_two_nodes_finds_the_leader() -> None:
    async with stand_in() as leader, stand_in(role=Role.FOLLOWER, leader=("127.0.0.1", leader.port)) as follower:
        client = esdb.Client(f"esdb://127.0.0.1:{follower.port},127.0.0.1:{leader.port}?Tls=false")
        await client.connect()
        event = esdb.NewEvent(type="Counted", data=b"{}")
        await client.append_to_stream("a", current_version=esdb.StreamState.NO_STREAM, events=[event])
        await client.close()

        assert (leader.log.current("a"), follower.log.current("a")) == (0, NO_STREAM)


async def test_a_connection_has_no_more_calls_than_it_may_have() -> None:
    async with stand_in(max_streams=2) as server, raw_client(server.port) as raw:
        subscriptions = [raw.subscribe() for _ in range(2)]
        for call in subscriptions:
            await call.read()
        third = raw.streams.BatchAppend(iter([batch("a", NO_STREAM, proposed())]), timeout=0.2)

        with pytest.raises(grpc.aio.AioRpcError):
            await third.read()

        assert server.log.current("a") == NO_STREAM
        for call in subscriptions:
            call.cancel()
