"""What goes through a link, against a broker that does what each test tells it."""

import asyncio
import gc

import pytest

from gateway.errors import LinkLost, PublishRefused
from gateway.messages import MessageProperties
from tests.support.link_log import LinkLog, running_link
from tests.support.scripted_broker import Kind, Peer, ScriptedBroker, read_connect

NOT_AUTHORIZED, NO_SUBSCRIBERS = 0x87, 0x10


async def test_connect_asks_for_the_session_with_limits_and_a_retained_will(broker: ScriptedBroker) -> None:
    async with running_link(broker.port, receive_maximum=7, session_expiry=600, will_delay=3, keepalive=20):
        connect = read_connect(await (await broker.connection()).next(Kind.CONNECT))
    will_retained_qos_1_and_no_clean_start = 0b0010_1100
    assert connect.flags == will_retained_qos_1_and_no_clean_start
    assert connect.properties == {"ReceiveMaximum": 7, "SessionExpiryInterval": 600}
    assert (connect.client_id, connect.keepalive) == ("gateway-1", 20)
    assert (connect.will, connect.will_properties) == (("status", b"offline 1"), {"WillDelayInterval": 3})


async def test_the_subscription_is_qos_1_with_retain_as_published(broker: ScriptedBroker) -> None:
    async with running_link(broker.port):
        subscribe = await (await broker.connection()).greet()
    assert subscribe.body[2:] == b"\x00" + b"\x00\x05cmd/#" + bytes([0b1001])


async def test_what_comes_in_the_same_read_as_connack_is_delivered(broker: ScriptedBroker) -> None:
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.next(Kind.CONNECT)
        peer.connack(session=True)
        peer.deliver(4, "cmd/a", b"old", dup=True)
        (delivery,) = await log.until_delivered(1)
        assert (delivery.topic, delivery.payload, delivery.redelivered) == ("cmd/a", b"old", True)
        delivery.acknowledge()
        peer.suback(await peer.next(Kind.SUBSCRIBE))
        assert (await peer.next(Kind.PUBACK)).packet_id == 4
        assert (await log.until_connected()).session_present is True


async def test_a_delivery_has_all_that_the_message_has(up: tuple[LinkLog, Peer]) -> None:
    log, peer = up
    expected = MessageProperties("ack/x", b"\x00\xff", "text/plain", 30, (("k", "1"), ("k", "2")))
    peer.deliver(
        *(9, "cmd/a", b"\x00body"),
        retain=True,
        ResponseTopic="ack/x",
        CorrelationData=b"\x00\xff",
        ContentType="text/plain",
        MessageExpiryInterval=30,
        PayloadFormatIndicator=1,
        UserProperty=[("k", "1"), ("k", "2")],
    )
    (delivery,) = await log.until_delivered(1)
    assert (delivery.topic, delivery.payload, delivery.properties) == ("cmd/a", b"\x00body", expected)
    assert (delivery.retain, delivery.redelivered) == (True, False)


async def test_pubacks_go_out_in_the_order_of_receipt(up: tuple[LinkLog, Peer]) -> None:
    log, peer = up
    for packet_id in (11, 12, 13):
        peer.deliver(packet_id, "cmd/a")
    first, second, third = await log.until_delivered(3)
    third.acknowledge()
    second.acknowledge()
    first.acknowledge()
    assert [(await peer.next(Kind.PUBACK)).packet_id for _ in range(3)] == [11, 12, 13]


async def test_no_puback_goes_out_before_its_turn(up: tuple[LinkLog, Peer]) -> None:
    log, peer = up
    peer.deliver(11, "cmd/a")
    peer.deliver(12, "cmd/a")
    _, second = await log.until_delivered(2)
    second.acknowledge()
    log.link.publish("ack", b"")
    # a PUBACK would have come first
    assert (await peer.next_publish()).topic == "ack"


async def test_a_delivery_with_qos_0_is_never_acknowledged(up: tuple[LinkLog, Peer]) -> None:
    log, peer = up
    peer.deliver(0, "cmd/a")
    peer.deliver(12, "cmd/a")
    for delivery in await log.until_delivered(2):
        delivery.acknowledge()
    assert (await peer.next(Kind.PUBACK)).packet_id == 12


async def test_a_delivery_of_an_old_connection_is_not_acknowledged_on_the_new_one(broker: ScriptedBroker) -> None:
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.greet()
        peer.deliver(5, "cmd/a", b"first")
        (old,) = await log.until_delivered(1)
        peer.reset()
        peer = await broker.connection()
        await peer.greet(session=True)
        peer.deliver(5, "cmd/b", b"another with its packet id")
        await log.until_delivered(2)
        old.acknowledge()
        log.link.publish("ack", b"")
        assert (await peer.next_publish()).topic == "ack"


async def test_a_publish_is_done_when_the_broker_confirms(up: tuple[LinkLog, Peer]) -> None:
    log, peer = up
    properties = MessageProperties("there", b"\x01", "application/json", 60, (("status", "accepted"),))
    future = log.link.publish("ack/a", b"{}", retain=True, properties=properties)
    published = await peer.next_publish()
    assert (published.topic, published.payload, peer.packets[-1].flags) == ("ack/a", b"{}", 0b0011)
    assert published.properties == {
        "ResponseTopic": "there",
        "CorrelationData": b"\x01",
        "ContentType": "application/json",
        "MessageExpiryInterval": 60,
        "UserProperty": [("status", "accepted")],
    }
    assert not future.done()
    peer.puback(published.packet_id)
    await future


async def test_nobody_listening_is_no_failure(up: tuple[LinkLog, Peer]) -> None:
    log, peer = up
    future = log.link.publish("ack/a", b"")
    peer.puback((await peer.next_publish()).packet_id, NO_SUBSCRIBERS)
    await future


async def test_a_refused_publish_fails_with_the_reason_and_the_next_one_goes_on(up: tuple[LinkLog, Peer]) -> None:
    log, peer = up
    refused, confirmed = log.link.publish("ack/a", b""), log.link.publish("ack/b", b"")
    peer.puback((await peer.next_publish()).packet_id, NOT_AUTHORIZED)
    peer.puback((await peer.next_publish()).packet_id)
    with pytest.raises(PublishRefused, match="Not authorized"):
        await refused
    await confirmed


async def test_a_publish_that_is_too_large_for_the_broker_is_refused_unsent(broker: ScriptedBroker) -> None:
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.greet(MaximumPacketSize=100)
        await log.until_connected()
        with pytest.raises(PublishRefused, match="100 bytes at most"):
            await log.link.publish("ack/a", b"x" * 100)
        log.link.publish("ack/b", b"x" * 80)
        assert (await peer.next_publish()).topic == "ack/b"


@pytest.mark.parametrize(("own", "brokers"), [(2, 65_535), (100, 2)])
async def test_no_more_publishes_are_in_flight_than_both_sides_allow(
    broker: ScriptedBroker, own: int, brokers: int
) -> None:
    async with running_link(broker.port, publish_window=own) as log:
        peer = await broker.connection()
        await peer.greet(ReceiveMaximum=brokers)
        await log.until_connected()
        futures = [log.link.publish("ack", str(number).encode()) for number in range(6)]
        peer.deliver(1, "cmd/a")
        (await log.until_delivered(1))[0].acknowledge()
        sent = [await peer.next_publish(), await peer.next_publish()]
        # a third one would stand before it
        await peer.next(Kind.PUBACK)
        for number in range(6):
            peer.puback(sent[number].packet_id)
            if number < 4:
                sent.append(await peer.next_publish())
        await asyncio.gather(*futures)
        assert [one.payload for one in sent] == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_a_publish_fails_at_once_while_there_is_no_connection(broker: ScriptedBroker) -> None:
    async with running_link(broker.port) as log:
        await broker.connection()
        with pytest.raises(LinkLost):
            log.link.publish("ack", b"").result()


async def test_what_is_in_flight_or_queued_fails_when_the_connection_ends(broker: ScriptedBroker) -> None:
    async with running_link(broker.port, publish_window=1) as log:
        peer = await broker.connection()
        await peer.greet()
        await log.until_connected()
        futures = [log.link.publish("ack", b"") for _ in range(3)]
        await peer.next_publish()
        peer.reset()
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(result) for result in results] == [LinkLost] * 3


async def test_a_failed_publish_that_nobody_awaits_raises_no_complaint(up: tuple[LinkLog, Peer]) -> None:
    log, peer = up
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    log.link.publish("ack/a", b"")
    log.link.publish("ack/b", b"")
    peer.puback((await peer.next_publish()).packet_id, NOT_AUTHORIZED)
    peer.reset()
    await log.until_lost()
    gc.collect()
    assert complaints == []
