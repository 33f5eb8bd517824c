"""How the connections of a link come, go and follow one another."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.client import ConnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from structlog.testing import capture_logs

from gateway.adapters.mqtt import TlsFiles, longest_pause
from gateway.adapters.mqtt_connection import Connection
from gateway.adapters.mqtt_owed import OwedPubacks
from gateway.errors import LinkLost
from tests.support.link_log import LinkLog, running_link
from tests.support.scripted_broker import Kind, Peer, ScriptedBroker, read_connect

TAKEN_OVER, NOT_AUTHORIZED, BAD_PASSWORD = 0x8E, 0x87, 0x86


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


async def test_a_connection_that_was_given_up_while_it_was_made_never_stands() -> None:
    client = aiomqtt.Client("broker")
    used: list[Connection] = []
    connection = Connection(client, window=1, owed=OwedPubacks(), on_delivery=lambda _: None, on_live=used.append)
    connection.end()
    success = ReasonCode(PacketTypes.CONNACK, "Success")
    client._client.on_connect(client._client, None, ConnectFlags(session_present=True), success, None)  # type: ignore[misc,call-arg,arg-type]
    assert (used, connection.live) == ([], False)


async def test_a_denied_subscription_is_a_loss(broker: ScriptedBroker) -> None:
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.next(Kind.CONNECT)
        peer.connack()
        peer.suback(await peer.next(Kind.SUBSCRIBE), NOT_AUTHORIZED)
        assert "denies the subscription to cmd/#: Not authorized" in await log.until_lost()
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
            peer = await broker.connection()
            await peer.next(Kind.CONNECT)
            peer.connack(BAD_PASSWORD)
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


async def test_a_broker_that_hangs_up_right_behind_a_confirmation_raises_no_complaint(broker: ScriptedBroker) -> None:
    async with running_link(broker.port, publish_window=2) as log:
        peer = await broker.connection()
        await peer.greet()
        await log.until_connected()
        for _ in range(3):
            log.link.publish("ack", b"")
        # the third one is to be sent when this is read, in the same read as the end
        peer.puback((await peer.next_publish()).packet_id)
        peer.disconnect(TAKEN_OVER)
        await log.until_lost()


async def test_a_broker_that_hangs_up_over_a_message_that_it_refuses_is_reported_so(broker: ScriptedBroker) -> None:
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.greet()
        await log.until_connected()
        log.link.publish("state/a", b"")
        peer.puback((await peer.next_publish()).packet_id, NOT_AUTHORIZED)
        peer.hang_up()
        assert (await log.until_lost()).endswith("refused a message to state/a: Not authorized")


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
