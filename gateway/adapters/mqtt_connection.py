"""One connection to the broker, from its beginning to its end.

aiomqtt connects, subscribes, keeps the connection alive and leaves it. Its message queue acknowledges before the
application has seen a message, and its publishing costs in proportion to the calls in flight; so both are bypassed:
this module publishes and acknowledges by hand, over :mod:`gateway.adapters.mqtt_wire`. All state of a connection dies
with it, so that a packet id of an old one can never acknowledge a message of a new one.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import ConnectFlags, DisconnectFlags
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from gateway.adapters.mqtt_owed import OwedPubacks, SentPubacks
from gateway.adapters.mqtt_packets import Publish, pack_properties, pack_puback, pack_publish
from gateway.adapters.mqtt_wire import Wire
from gateway.errors import LinkLost, PublishRefused
from gateway.messages import MessageProperties

BROKE_OFF: Final = "the connection broke off"
"""The reason where nothing more is known."""
_NO_LIMIT: Final = 65_535
_FRAME: Final = 9
"""Bytes of a PUBLISH packet besides topic, properties and payload, at most."""

_FAILURE: Final = 0x80

R = TypeVar("R")


class MqttDelivery:
    """A message of one connection; see :class:`~gateway.ports.Delivery`."""

    __slots__ = ("_connection", "is_settled", "packet_id", "payload", "properties", "redelivered", "retain", "topic")

    def __init__(self, connection: "Connection", packet: Publish) -> None:
        self.topic = packet.topic
        self.payload = packet.payload
        self.retain = packet.retain
        self.redelivered = packet.redelivered
        self.properties = packet.properties
        self.packet_id = packet.packet_id
        self.is_settled = False
        self._connection = connection

    def acknowledge(self) -> None:
        """Let the broker forget it, in the order of receipt; if the connection is gone, when it comes again."""
        self.is_settled = True
        self._connection.settled(self)


@dataclass(slots=True)
class _Outgoing:
    """A message on its way to the broker; numbered in the order of sending."""

    topic: bytes
    payload: bytes
    retain: bool
    properties: bytes
    future: "asyncio.Future[None]"
    number: int = 0


class Connection:
    """One connection, from before CONNECT to its end.

    Attributes:
        live: whether messages can be sent.
        session_present: whether the broker still knew us; ``None`` before CONNACK.
    """

    def __init__(
        self,
        client: aiomqtt.Client,
        *,
        window: int,
        owed: OwedPubacks,
        on_delivery: Callable[[MqttDelivery], None],
        on_live: Callable[["Connection"], None],
    ) -> None:
        self.live = False
        self.session_present: bool | None = None
        self._ended = asyncio.Event()
        self._reason = ""
        self._refusal = ""
        self._client = client
        self._window = window
        self._owed = owed
        self._largest_packet: int | None = None
        self._on_delivery = on_delivery
        self._on_live = on_live
        self._unacknowledged: deque[MqttDelivery] = deque()
        self._told = SentPubacks()
        self._published = 0
        self._in_flight: dict[int, _Outgoing] = {}
        self._queued: deque[_Outgoing] = deque()
        self._wire = Wire(client, self._take_publish, self._take_puback)
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop = asyncio.get_running_loop()
        self._paho: PahoClient = client._client  # noqa: SLF001 - aiomqtt offers no public way to any of this
        self._paho.connect_timeout = client.timeout
        # paho's types name the callbacks of both its versions at once
        self._connect_aiomqtt = cast("Callable[..., None]", self._paho.on_connect)
        self._disconnect_aiomqtt = cast("Callable[..., None]", self._paho.on_disconnect)
        self._paho.on_connect = self._connected
        self._paho.on_disconnect = self._disconnected

    def publish(
        self, topic: str, payload: bytes, properties: MessageProperties, *, retain: bool
    ) -> "asyncio.Future[None]":
        """Send a message, or queue it while as many are in flight as the broker takes."""
        future: asyncio.Future[None] = self._loop.create_future()
        if not self.live:
            _fail(future, LinkLost("there is no connection to the broker"))
            return future
        encoded, packed = topic.encode(), pack_properties(properties)
        size = _FRAME + len(encoded) + len(packed) + len(payload)
        if self._largest_packet is not None and size > self._largest_packet:
            # it would end the connection, and so would the next attempt
            _fail(future, PublishRefused(f"the broker takes {self._largest_packet} bytes at most, not {size}"))
            return future
        self._idle.clear()
        message = _Outgoing(encoded, payload, retain, packed, future)
        if len(self._in_flight) < self._window:
            self._send(message)
        else:
            self._queued.append(message)
        return future

    async def idle(self) -> None:
        """Wait until the broker has everything that was published."""
        await self._idle.wait()

    async def hold(self, work: Coroutine[Any, Any, R], name: str) -> R:
        """Wait for something for as long as the connection stands; its result.

        Raises:
            LinkLost: the connection ended first, and why.
        """
        disconnected = self._client._disconnected  # noqa: SLF001 - a failing read sets it, and paho does not tell of that
        working = asyncio.create_task(work, name=name)
        ended = asyncio.create_task(self._ended.wait(), name="connection ended")
        try:
            await asyncio.wait((working, ended, disconnected), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                self._note_reason()
                raise LinkLost(self._reason or "the connection ended")
            return working.result()
        finally:
            working.cancel()
            ended.cancel()

    def settled(self, delivery: MqttDelivery) -> None:
        """PUBACK what is settled, in the order of receipt [MQTT-4.6.0-2]; too late, it is owed."""
        if not self.live and self._owed.debtor is self:
            self._owed.add(delivery.packet_id, delivery)
        while self.live and self._unacknowledged and self._unacknowledged[0].is_settled:
            acknowledged = self._unacknowledged.popleft()
            self._told.add(acknowledged.packet_id, acknowledged, self._published)
            self._wire.put(pack_puback(acknowledged.packet_id))

    def end(self) -> None:
        """Let go of the connection, however far it has come, and of whatever was on its way."""
        self._lose()
        # aiomqtt leaves it open when CONNACK does not come, and when a read fails; it must come after what aiomqtt
        # has asked the loop to do with the socket
        self._loop.call_soon(self._paho._sock_close)  # noqa: SLF001 - disconnect() would still have to be written
        self._note_reason()

    def _lose(self) -> None:
        self.live = False
        self._ended.set()
        lost = LinkLost("the connection ended before the broker confirmed")
        for message in (*self._in_flight.values(), *self._queued):
            _fail(message.future, lost)
        self._in_flight.clear()
        self._queued.clear()
        # what was acknowledged last may not have reached a broker that was hanging up
        for packet_id, told in self._told:
            self._owed.add(packet_id, told)
        for delivery in self._unacknowledged:
            if delivery.is_settled:
                self._owed.add(delivery.packet_id, delivery)
        self._told.clear()
        self._unacknowledged.clear()
        self._wire.close()
        self._idle.set()

    def _note_reason(self) -> None:
        """Also keeps asyncio from complaining that nobody looked at it."""
        disconnected = self._client._disconnected  # noqa: SLF001 - what a failing read says is found only there
        # aiomqtt's own waiting for it, when it takes too long, cancels it
        error = disconnected.exception() if disconnected.done() and not disconnected.cancelled() else None
        if error is not None and not self._reason:
            self._reason = repr(error)

    def _send(self, message: "_Outgoing") -> None:
        packet_id = self._wire.packet_id()
        while packet_id in self._in_flight:
            packet_id = self._wire.packet_id()
        self._in_flight[packet_id] = message
        self._published += 1
        message.number = self._published
        properties, retain = message.properties, message.retain
        self._wire.put(pack_publish(message.topic, message.payload, properties, packet_id, retain=retain))

    def _connected(
        self, client: PahoClient, userdata: object, flags: ConnectFlags, code: ReasonCode, found: object
    ) -> None:
        if not code.is_failure and not self._ended.is_set():
            self.session_present = flags.session_present
            self._owed.debtor = self
            if not self.session_present:
                self._owed.forget()
            self._window = min(self._window, getattr(found, "ReceiveMaximum", _NO_LIMIT))
            self._largest_packet = getattr(found, "MaximumPacketSize", None)
            # now, not when aiomqtt says so: a resumed session's messages arrive in the same read as CONNACK
            self.live = True
            self._on_live(self)
        self._connect_aiomqtt(client, userdata, flags, code, found)

    def _disconnected(
        self,
        client: PahoClient,
        userdata: object,
        flags: DisconnectFlags,
        code: ReasonCode,
        found: object,
    ) -> None:
        self._disconnect_aiomqtt(client, userdata, flags, code, found)
        if flags.is_disconnect_packet_from_server:
            self._reason = f"the broker says: {code!s}"
        elif self._wire.fault:
            self._reason = self._wire.fault
        elif not self._reason:
            # a broker may hang up over a message that it refuses, as mosquitto 2.0.11 does
            self._reason = BROKE_OFF + self._refusal if code == "Unspecified error" else str(code)
        self._note_reason()
        self._lose()

    def _take_publish(self, publish: Publish) -> None:
        delivery = MqttDelivery(self, publish)
        if publish.qos:
            self._unacknowledged.append(delivery)
            self._told.given_anew(delivery.packet_id)
        if publish.qos and self._owed.take(delivery.packet_id, delivery):
            delivery.acknowledge()
        else:
            self._on_delivery(delivery)

    def _take_puback(self, packet_id: int, code: int) -> None:
        message = self._in_flight.pop(packet_id, None)
        if self._queued:
            self._send(self._queued.popleft())
        elif not self._in_flight:
            self._idle.set()
        if message is None:
            return
        self._told.confirmed(message.number)
        if code >= _FAILURE:
            reason = _told_by(code)
            self._refusal = f"; the broker had refused a message to {message.topic.decode()}: {reason}"
            _fail(message.future, PublishRefused(reason))
        elif not message.future.done():
            message.future.set_result(None)


def _told_by(code: int) -> str:
    try:
        return str(ReasonCode(PacketTypes.PUBACK, identifier=code))
    except KeyError:
        return f"reason code 0x{code:02x}"


def _fail(future: "asyncio.Future[None]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # nobody has to look at it
