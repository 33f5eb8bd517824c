"""PUBACKs that a connection did not live to send."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.link_log import LinkLog, running_link
from tests.support.scripted_broker import Kind, ScriptedBroker


@pytest_asyncio.fixture
async def settled_late(broker: ScriptedBroker) -> AsyncIterator[LinkLog]:
    """A link whose connection has ended between two deliveries and their acknowledgement: packet ids 5 and 6."""
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.greet()
        peer.deliver(5, "cmd/a", b"one")
        peer.deliver(6, "cmd/a", b"two")
        deliveries = list(await log.until_delivered(2))
        deliveries[1].acknowledge()  # its turn has not come
        peer.reset()
        await log.until_lost()
        deliveries[0].acknowledge()
        yield log


async def test_what_was_settled_too_late_is_acknowledged_when_it_comes_again_and_not_handled_anew(
    broker: ScriptedBroker, settled_late: LinkLog
) -> None:
    peer = await broker.connection()
    await peer.greet(session=True)
    peer.deliver(5, "cmd/a", b"one", dup=True)
    peer.deliver(6, "cmd/a", b"two", dup=True)
    assert [(await peer.next(Kind.PUBACK)).packet_id for _ in range(2)] == [5, 6]
    assert len(settled_late.deliveries) == 2


@pytest.mark.parametrize(
    ("session", "coming"),
    [
        pytest.param(True, [(5, "cmd/a", b"another", True), (6, "cmd/b", b"two", True)], id="other content, same id"),
        # and what comes again after a new one is none of those that were owed
        pytest.param(True, [(5, "cmd/a", b"one", False), (6, "cmd/a", b"two", True)], id="new, same id and content"),
        pytest.param(False, [(5, "cmd/a", b"one", True)], id="the session is lost"),
    ],
)
async def test_what_only_looks_like_a_settled_message_is_handled(
    broker: ScriptedBroker,
    settled_late: LinkLog,
    session: bool,  # noqa: FBT001
    coming: list[tuple[int, str, bytes, bool]],
) -> None:
    peer = await broker.connection()
    await peer.greet(session=session)
    for packet_id, topic, payload, dup in coming:
        peer.deliver(packet_id, topic, payload, dup=dup)
    assert len(await settled_late.until_delivered(2 + len(coming))) == 2 + len(coming)


async def test_a_delivery_that_was_never_settled_is_handled_again(broker: ScriptedBroker) -> None:
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.greet()
        peer.deliver(5, "cmd/a", b"one")
        await log.until_delivered(1)
        peer.reset()
        peer = await broker.connection()
        await peer.greet(session=True)
        peer.deliver(5, "cmd/a", b"one", dup=True)
        assert len(await log.until_delivered(2)) == 2


async def test_what_is_settled_when_it_has_come_again_already_is_not_owed(broker: ScriptedBroker) -> None:
    async with running_link(broker.port) as log:
        for number in range(3):
            peer = await broker.connection()
            await peer.greet(session=number > 0)
            peer.deliver(5, "cmd/a", b"one", dup=number > 0)
            deliveries = await log.until_delivered(number + 1)
            if number == 1:
                deliveries[0].acknowledge()
            peer.reset()


async def test_what_was_acknowledged_to_a_broker_that_had_hung_up_is_not_handled_anew(broker: ScriptedBroker) -> None:
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.greet()
        peer.deliver(5, "cmd/a", b"one")
        [delivery] = await log.until_delivered(1)
        peer.reset()
        # the link does not know of it yet
        delivery.acknowledge()
        await log.until_lost()
        again = await broker.connection()
        await again.greet(session=True)
        again.deliver(5, "cmd/a", b"one", dup=True)
        assert (await again.next(Kind.PUBACK)).packet_id == 5
        assert len(log.deliveries) == 1


@pytest.mark.parametrize("proof", ["the id is given anew", "something later is confirmed"])
async def test_a_copy_under_the_packet_id_of_one_that_the_broker_has_let_go_is_handled(
    broker: ScriptedBroker, proof: str
) -> None:
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.greet()
        peer.deliver(5, "cmd/a", b"one")
        (await log.until_delivered(1))[0].acknowledge()
        await peer.next(Kind.PUBACK)
        if proof == "the id is given anew":
            # a copy: it takes the packet id, because that is free
            peer.deliver(5, "cmd/a", b"one")
            await log.until_delivered(2)
        else:
            published = log.link.publish("ack/a", b"")
            peer.puback((await peer.next_publish()).packet_id)
            await published
        seen = len(log.deliveries)
        peer.reset()
        await log.until_lost()
        peer = await broker.connection()
        await peer.greet(session=True)
        peer.deliver(5, "cmd/a", b"one", dup=True)
        assert len(await log.until_delivered(seen + 1)) == seen + 1


async def test_what_the_broker_may_not_know_to_be_settled_is_owed(broker: ScriptedBroker) -> None:
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.greet()
        published = log.link.publish("ack/a", b"")
        early = await peer.next_publish()
        peer.deliver(5, "cmd/a", b"one")
        (await log.until_delivered(1))[0].acknowledge()
        await peer.next(Kind.PUBACK)
        # what was sent before the PUBACK proves nothing
        peer.puback(early.packet_id)
        await published
        peer.reset()
        await log.until_lost()
        peer = await broker.connection()
        await peer.greet(session=True)
        peer.deliver(5, "cmd/a", b"one", dup=True)
        assert (await peer.next(Kind.PUBACK)).packet_id == 5
        assert len(log.deliveries) == 1
