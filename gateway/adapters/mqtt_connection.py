"""One connection to the broker: the one module that touches the paho client inside aiomqtt.

aiomqtt connects, subscribes, and drives the socket from the event loop. Its message queue acknowledges before the
application has seen a message, and its publishing costs in proportion to the calls in flight; so both are bypassed:
this module takes over ``on_message`` and ``on_publish`` of the paho client, and acknowledges by hand. All state of a
connection dies with it, so that a packet id of an old one can never acknowledge a message of a new one.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from struct import pack
from typing import Final, cast

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.errors import LinkLost, PublishRefused
from gateway.ports import NO_PROPERTIES, MessageProperties

_MESSAGE_EXPIRY: Final = 0x02
_CONTENT_TYPE: Final = 0x03
_RESPONSE_TOPIC: Final = 0x08
_CORRELATION_DATA: Final = 0x09
_USER_PROPERTY: Final = 0x26
_NO_LIMIT: Final = 65_535
_PROPERTIES_READ: Final = frozenset(
    {"ResponseTopic", "CorrelationData", "ContentType", "MessageExpiryInterval", "UserProperty"}
)


class MqttDelivery:
    """A message of one connection; see :class:`~gateway.ports.Delivery`."""

    __slots__ = ("_connection", "is_settled", "packet_id", "payload", "properties", "redelivered", "retain", "topic")

    def __init__(self, connection: "Connection", message: MQTTMessage) -> None:
        self.topic = message.topic
        self.payload = bytes(message.payload)
        self.retain = message.retain
        self.redelivered = message.dup
        self.properties = _read_properties(message.properties)
        self.packet_id = message.mid
        self.is_settled = False
        self._connection = connection

    def acknowledge(self) -> None:
        """Let the broker forget it, in the order of receipt; nothing happens if the connection is gone."""
        self.is_settled = True
        self._connection.flush_acknowledgements()


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A message on its way to the broker."""

    topic: str
    payload: bytes
    retain: bool
    properties: Properties
    future: "asyncio.Future[None]"


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
        on_delivery: Callable[[MqttDelivery], None],
        on_live: Callable[["Connection"], None],
    ) -> None:
        self.live = False
        self.session_present: bool | None = None
        self._ended = asyncio.Event()
        self._client = client
        self._window = window
        self._on_delivery = on_delivery
        self._on_live = on_live
        self._unacknowledged: deque[MqttDelivery] = deque()
        self._in_flight: dict[int, asyncio.Future[None]] = {}
        self._queued: deque[_Outgoing] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop = asyncio.get_running_loop()
        self._paho: PahoClient = client._client  # noqa: SLF001 - aiomqtt offers no public way to any of this
        self._paho.manual_ack_set(on=True)
        self._paho.on_message = self._message
        self._paho.on_publish = self._published
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
        self._idle.clear()
        message = _Outgoing(topic, payload, retain, _Packed(_pack_properties(properties)), future)
        if len(self._in_flight) < self._window:
            self._send(message)
        else:
            self._queued.append(message)
        return future

    async def idle(self) -> None:
        """Wait until the broker has everything that was published."""
        await self._idle.wait()

    async def ended(self) -> str:
        """Wait until the connection is gone; the reason, in aiomqtt's words."""
        disconnected = self._client._disconnected  # noqa: SLF001 - also set by a failing read, which paho does not tell of
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((ended, disconnected), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        error = disconnected.exception() if disconnected.done() else None
        return str(error or "the connection ended")

    def flush_acknowledgements(self) -> None:
        """PUBACK what is settled, in the order of receipt [MQTT-4.6.0-2]."""
        waiting = self._unacknowledged
        while waiting and waiting[0].is_settled:
            delivery = waiting.popleft()
            if self.live:
                self._paho.ack(delivery.packet_id, 1)

    def end(self) -> None:
        """The connection is gone, and whatever was on its way with it."""
        self.live = False
        self._ended.set()
        lost = LinkLost("the connection ended before the broker confirmed")
        for future in (*self._in_flight.values(), *(queued.future for queued in self._queued)):
            _fail(future, lost)
        self._in_flight.clear()
        self._queued.clear()
        self._idle.set()

    def _send(self, message: "_Outgoing") -> None:
        info = self._paho.publish(message.topic, message.payload, 1, message.retain, message.properties)
        if info.rc:
            _fail(message.future, LinkLost(f"the connection does not take messages: {info.rc!s}"))
        else:
            self._in_flight[info.mid] = message.future

    def _connected(
        self, client: PahoClient, userdata: object, flags: ConnectFlags, code: ReasonCode, found: object
    ) -> None:
        if not code.is_failure:
            self.session_present = flags.session_present
            self._window = min(self._window, getattr(found, "ReceiveMaximum", _NO_LIMIT))
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
        self.end()

    def _message(self, _client: PahoClient, _userdata: object, message: MQTTMessage) -> None:
        delivery = MqttDelivery(self, message)
        if message.qos:
            self._unacknowledged.append(delivery)
        self._on_delivery(delivery)

    def _published(
        self, _client: PahoClient, _userdata: object, packet_id: int, code: ReasonCode, _found: object
    ) -> None:
        future = self._in_flight.pop(packet_id, None)
        if self._queued:
            self._send(self._queued.popleft())
        elif not self._in_flight:
            self._idle.set()
        if future is None or future.done():
            return
        if code.is_failure:
            _fail(future, PublishRefused(str(code)))
        else:
            future.set_result(None)


class _Packed(Properties):
    """Properties that are encoded already: paho's own encoder takes half of the time that a publish costs."""

    def __init__(self, encoded: bytes) -> None:
        self.__dict__["encoded"] = encoded  # past paho's check of names, which knows only those of the protocol

    def pack(self) -> bytes:
        """The bytes, as they stand in the packet."""
        encoded: bytes = self.__dict__["encoded"]
        return encoded

    def __str__(self) -> str:
        return self.pack().hex()


@lru_cache(maxsize=256)
def _pack_constant(content_type: str | None, user: tuple[tuple[str, str], ...]) -> bytes:
    packed = b"" if content_type is None else bytes((_CONTENT_TYPE,)) + _pack_text(content_type)
    for name, value in user:
        packed += bytes((_USER_PROPERTY,)) + _pack_text(name) + _pack_text(value)
    return packed


def _pack_properties(properties: MessageProperties) -> bytes:
    """The properties of a PUBLISH packet as bytes (MQTT 5, 2.2.2), with their length before them."""
    packed = _pack_constant(properties.content_type, properties.user)
    if properties.correlation_data is not None:
        packed += pack("!BH", _CORRELATION_DATA, len(properties.correlation_data)) + properties.correlation_data
    if properties.response_topic is not None:
        packed += bytes((_RESPONSE_TOPIC,)) + _pack_text(properties.response_topic)
    if properties.expiry is not None:
        packed += pack("!BI", _MESSAGE_EXPIRY, properties.expiry)
    return _pack_length(len(packed)) + packed


def _pack_text(text: str) -> bytes:
    encoded = text.encode()
    return pack("!H", len(encoded)) + encoded


def _pack_length(length: int) -> bytes:
    """A variable byte integer (MQTT 5, 1.5.5)."""
    packed = bytearray()
    while True:
        length, digit = divmod(length, 128)
        packed.append(digit | 0x80 if length else digit)
        if not length:
            return bytes(packed)


def _read_properties(found: Properties | None) -> MessageProperties:
    values = vars(found) if found is not None else {}
    if _PROPERTIES_READ.isdisjoint(values):
        return NO_PROPERTIES
    return MessageProperties(
        response_topic=values.get("ResponseTopic"),
        correlation_data=values.get("CorrelationData"),
        content_type=values.get("ContentType"),
        expiry=values.get("MessageExpiryInterval"),
        user=tuple(values.get("UserProperty", ())),
    )


def _fail(future: "asyncio.Future[None]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # nobody has to look at it
