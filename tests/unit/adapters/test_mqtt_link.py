"""The link against a broker that does what each test tells it."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from gateway.adapters.mqtt import TlsFiles, longest_pause
from gateway.errors import LinkLost, PublishRefused
from gateway.ports import MessageProperties
from tests.support.link_log import LinkLog, running_link
from tests.support.scripted_broker import Kind, Peer, ScriptedBroker, read_connect, scripted_broker

TAKEN_OVER, NOT_AUTHORIZED, BAD_PASSWORD, NO_SUBSCRIBERS = 0x8E, 0x87, 0x86, 0x10


@pytest_asyncio.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    async with scripted_broker() as one:
        yield one


@pytest_asyncio.fixture
async def up(broker: ScriptedBroker) -> AsyncIterator[tuple[LinkLog, Peer]]:
    """A link with a connection, and the broker's end of it."""
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.greet()
        await log.until_connected()
        yield log, peer


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


def _reset(peer: Peer) -> None:
    peer.reset()


def _take_over(peer: Peer) -> None:
    peer.disconnect(TAKEN_OVER)


def _garbage(peer: Peer) -> None:
    peer.send(Kind.PUBLISH, b"\x00\xff", 0b10)


def _unknown_property(peer: Peer) -> None:
    peer.send(Kind.PUBLISH, b"\x00\x01a\x00\x01\x01\x7f", 0b10)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (_reset, "the connection broke off"),
        (_take_over, "the broker says: Session taken over"),
        (_garbage, "ends too early"),
        (_unknown_property, "0x7f is no property"),
    ],
)
async def test_a_connection_that_ends_is_reported_and_followed_by_another(
    broker: ScriptedBroker, end: Callable[[Peer], None], reason: str
) -> None:
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.greet()
        await log.until_connected()
        end(peer)
        assert reason in await log.until_lost()
        await peer.until_gone()
        again = await broker.connection()
        await again.greet(session=True)
        await log.until_connected(2)
    assert [(one.epoch, one.session_present) for one in log.connected] == [(1, False), (2, True)]


def _silence(_peer: Peer) -> None:
    pass


def _refuse(peer: Peer) -> None:
    peer.connack(BAD_PASSWORD)


@pytest.mark.parametrize(
    ("answer", "reason"), [(_reset, "timed out"), (_silence, "timed out"), (_refuse, "Bad user name or password")]
)
async def test_an_attempt_that_fails_is_given_up_and_followed_by_another(
    broker: ScriptedBroker, answer: Callable[[Peer], None], reason: str
) -> None:
    async with running_link(broker.port, connect_timeout=0.2) as log:
        peer = await broker.connection()
        await peer.next(Kind.CONNECT)
        answer(peer)
        assert reason in await log.until_lost()
        await peer.until_gone()
        again = await broker.connection()
        assert read_connect(await again.next(Kind.CONNECT)).will == ("status", b"offline 2")
        again.connack()
        again.suback(await again.next(Kind.SUBSCRIBE))
        assert (await log.until_connected()).epoch == 2


async def test_a_connack_that_comes_too_late_counts_for_nothing(broker: ScriptedBroker) -> None:
    async with running_link(broker.port, connect_timeout=0.2) as log:
        late = await broker.connection()
        await log.until_lost()
        late.connack()
        late.deliver(1, "cmd/late")
        peer = await broker.connection()
        await peer.greet()
        await log.until_connected()
        peer.deliver(1, "cmd/in-time")
        assert [delivery.topic for delivery in await log.until_delivered(1)] == ["cmd/in-time"]


async def test_a_denied_subscription_is_a_loss(broker: ScriptedBroker) -> None:
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.next(Kind.CONNECT)
        peer.connack()
        peer.suback(await peer.next(Kind.SUBSCRIBE), NOT_AUTHORIZED)
        assert "denies the subscription: Not authorized" in await log.until_lost()
        await (await broker.connection()).greet()
        assert (await log.until_connected()).epoch == 2


async def test_a_connection_that_takes_no_good_bye_is_followed_by_another(broker: ScriptedBroker) -> None:
    async with running_link(broker.port, connect_timeout=0.3) as log:
        peer = await broker.connection()
        await peer.next(Kind.CONNECT)
        peer.connack()
        subscribe = await peer.next(Kind.SUBSCRIBE)
        peer.stop_reading()
        for _ in range(100):
            log.link.publish("ack", b"x" * 200_000)
        peer.suback(subscribe, NOT_AUTHORIZED)
        await log.until_lost()
        await (await broker.connection()).greet()
        await log.until_connected()


async def test_a_connection_that_ends_before_suback_is_not_waited_for(broker: ScriptedBroker) -> None:
    async with running_link(broker.port, connect_timeout=60) as log:
        peer = await broker.connection()
        await peer.next(Kind.CONNECT)
        peer.connack()
        await peer.next(Kind.SUBSCRIBE)
        peer.disconnect(NOT_AUTHORIZED)
        assert await log.until_lost() == "the broker says: Not authorized"


async def test_a_good_bye_in_the_same_read_as_connack_is_a_loss_like_any_other(broker: ScriptedBroker) -> None:
    async with running_link(broker.port, connect_timeout=0.5) as log:
        peer = await broker.connection()
        await peer.next(Kind.CONNECT)
        peer.connack()
        peer.disconnect(NOT_AUTHORIZED)
        await log.until_lost()
        await (await broker.connection()).greet()
        await log.until_connected()


async def test_a_wrong_password_is_logged_as_an_error(broker: ScriptedBroker) -> None:
    with capture_logs() as lines:
        async with running_link(broker.port) as log:
            (await broker.connection()).connack(BAD_PASSWORD)
            await log.until_lost()
    (line,) = [line for line in lines if line["event"] == "link_refused"]
    assert (line["log_level"], line["epoch"], line["attempt"]) == ("error", 1, 0)
    assert "Bad user name or password" in line["reason"]


async def test_tls_files_that_cannot_be_read_are_told_and_tried_again(tmp_path: Path) -> None:
    async with running_link(1, tls=TlsFiles(ca=tmp_path / "missing.pem")) as log:
        assert "No such file" in await log.until_lost()
        await log.until_lost(2)


async def test_nobody_listening_is_a_loss_and_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with running_link(port) as log:
        assert "refused" in await log.until_lost()
        await log.until_lost(3)
        assert log.epoch >= 3


def test_the_pause_grows_up_to_its_limit_however_often_it_fails() -> None:
    pauses = [longest_pause((0.2, 30.0), attempt) for attempt in range(5_000)]
    assert pauses[:4] == [0.2, 0.4, 0.8, 1.6]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30.0


async def test_connections_that_break_at_once_are_made_with_growing_pauses(broker: ScriptedBroker) -> None:
    with capture_logs() as lines:
        async with running_link(broker.port, backoff=(0.001, 60.0)) as log:
            for number in range(4):
                peer = await broker.connection()
                await peer.greet()
                await log.until_connected(number + 1)
                peer.disconnect(TAKEN_OVER)
            await log.until_lost(4)
    assert [line["attempt"] for line in lines if line["event"] == "link_lost"] == [0, 1, 2, 3]


async def test_closing_waits_for_what_is_in_flight_and_leaves_in_good_order(broker: ScriptedBroker) -> None:
    async with running_link(broker.port, publish_window=1) as log:
        peer = await broker.connection()
        await peer.greet()
        await log.until_connected()
        futures = [log.link.publish("ack", b"1"), log.link.publish("ack", b"2")]
        closing = asyncio.create_task(log.link.close(10))
        for _ in futures:
            peer.puback((await peer.next_publish()).packet_id)
        await closing
        await asyncio.gather(*futures)
        good_bye = await peer.next(Kind.DISCONNECT)
        assert good_bye.body in {b"", b"\x00", b"\x00\x00"}
        await peer.until_gone()
    assert log.lost == []


async def test_closing_does_not_wait_for_ever(up: tuple[LinkLog, Peer]) -> None:
    log, peer = up
    future = log.link.publish("ack", b"")
    await peer.next_publish()
    await log.link.close(0.05)
    await peer.next(Kind.DISCONNECT)
    assert isinstance(future.exception(), LinkLost)


async def test_closing_while_the_broker_is_silent_is_quick_once_cancelled(broker: ScriptedBroker) -> None:
    async with running_link(broker.port, connect_timeout=60) as log:
        peer = await broker.connection()
        await peer.next(Kind.CONNECT)
        await log.link.close(0.05)
    await peer.until_gone()


async def test_cancelling_leaves_in_good_order(up: tuple[LinkLog, Peer]) -> None:
    log, peer = up
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "link under test"]
    task.cancel()
    await asyncio.wait((task,))
    await peer.next(Kind.DISCONNECT)
    assert log.link.is_up is False


async def test_cancelling_ends_it_also_when_the_broker_takes_no_good_bye(broker: ScriptedBroker) -> None:
    async with running_link(broker.port, connect_timeout=0.3) as log:
        peer = await broker.connection()
        await peer.greet()
        await log.until_connected()
        peer.stop_reading()
        for _ in range(100):
            log.link.publish("ack", b"x" * 200_000)
        (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "link under test"]
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait((task,))
    assert log.lost == []
