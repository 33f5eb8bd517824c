"""PUBACKs that a connection did not live to send."""

from collections.abc import AsyncIterator

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


async def test_another_message_with_the_same_packet_id_is_handled(
    broker: ScriptedBroker, settled_late: LinkLog
) -> None:
    peer = await broker.connection()
    await peer.greet(session=True)
    peer.deliver(5, "cmd/a", b"another", dup=True)
    peer.deliver(6, "cmd/b", b"two", dup=True)
    assert len(await settled_late.until_delivered(4)) == 4


async def test_a_new_message_with_the_same_packet_id_and_content_is_handled(
    broker: ScriptedBroker, settled_late: LinkLog
) -> None:
    peer = await broker.connection()
    await peer.greet(session=True)
    peer.deliver(5, "cmd/a", b"one")
    # and what comes again after a new one is none of those that were owed
    peer.deliver(6, "cmd/a", b"two", dup=True)
    assert len(await settled_late.until_delivered(4)) == 4


async def test_nothing_is_owed_to_a_broker_that_has_lost_the_session(
    broker: ScriptedBroker, settled_late: LinkLog
) -> None:
    peer = await broker.connection()
    await peer.greet(session=False)
    peer.deliver(5, "cmd/a", b"one", dup=True)
    assert len(await settled_late.until_delivered(3)) == 3


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
