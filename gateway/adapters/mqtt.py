"""The link to the broker: a persistent session over one connection after the other, for ever."""

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiomqtt
import structlog
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.adapters.mqtt_connection import BROKE_OFF, Connection, MqttDelivery
from gateway.adapters.mqtt_owed import OwedPubacks
from gateway.errors import LinkLost, StoreUnavailable
from gateway.messages import NO_PROPERTIES, MessageProperties

log = structlog.get_logger()

_UNHEARD: Final = logging.getLogger("gateway.paho")
"""Where aiomqtt and paho complain of what the link reports itself."""
_UNHEARD.disabled = True

_PUBLISHES_UNLIMITED: Final = 0
"""paho's own window is off: with it paho walks its whole queue at each PUBACK. The connection keeps one."""

_DOUBLINGS: Final = 30
"""More make no pause longer, only a number too large for a float."""

_NO_ACCIDENT: Final = 2
"""Failures in a row, before a connection that only breaks off looks like somebody's doing."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; an empty path means none."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Read the files.

        Raises:
            OSError: one of them cannot be read.
        """
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How to reach the broker. All times in seconds.

    Attributes:
        socket_path: of a unix socket, which then takes the place of host and port.
        client_id: the broker keeps the session under it, so it must stay the same.
        receive_maximum: how many unacknowledged messages the broker may send.
        publish_window: how many of ours may be unconfirmed; the broker's own limit counts too.
        session_expiry: how long the broker keeps what it has for us while we are away.
        will_delay: how long it waits before it says that we are gone.
        backoff: the shortest and the longest pause between two attempts.
    """

    client_id: str
    host: str = "127.0.0.1"
    port: int = 1883
    socket_path: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    tls: TlsFiles | None = None
    keepalive: int = 15
    connect_timeout: float = 5.0
    receive_maximum: int = 100
    publish_window: int = 100
    session_expiry: int = 604_800
    will_delay: int = 5
    backoff: tuple[float, float] = (0.2, 30.0)


@dataclass(frozen=True, slots=True)
class Connected:
    """What is known when a connection stands and the subscriptions are made.

    Attributes:
        epoch: number of the connection; rises with each.
        session_present: whether the broker still had our session, and with it what waited for us.
    """

    epoch: int
    session_present: bool


@dataclass(frozen=True, slots=True)
class LinkEvents:
    """What the link calls, on the event loop; none of it may block.

    Attributes:
        delivery: a message came.
        connected: a connection stands.
        lost: it is gone, or could not be made.
        next_epoch: a number for the next attempt.
        will: topic and payload of the retained will of the connection with this epoch.
    """

    delivery: Callable[[MqttDelivery], None]
    connected: Callable[[Connected], None]
    lost: Callable[[str], None]
    next_epoch: Callable[[], Awaitable[int]]
    will: Callable[[int], tuple[str, bytes]]


class Link:
    """Keeps a connection to the broker; see :class:`~gateway.ports.Publisher`.

    Attributes:
        epoch: of the newest connection attempt.
        attempts: to connect so far, in this run.
    """

    def __init__(self, options: LinkOptions, filters: Sequence[str], *, wishes: Sequence[str] = ()) -> None:
        """Subscribe to ``filters``, without which there is no connection, and to ``wishes`` where it is allowed."""
        self.epoch = 0
        self.attempts = 0
        self._options = options
        self._filters = tuple(filters)
        self._wishes = tuple(wishes)
        self._connection: Connection | None = None
        self._owed = OwedPubacks()
        self._closing = asyncio.Event()
        self._closed = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether messages can be sent."""
        return self._connection is not None and self._connection.live

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, properties: MessageProperties = NO_PROPERTIES
    ) -> "asyncio.Future[None]":
        """Hand a message over; see :meth:`gateway.ports.Publisher.publish`."""
        if self._connection is not None:
            return self._connection.publish(topic, payload, properties, retain=retain)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(LinkLost("there is no connection to the broker"))
        future.exception()  # nobody has to look at it
        return future

    async def run(self, events: LinkEvents) -> None:
        """Connect, and connect again, until :meth:`close` or until it is cancelled; ``events`` is told what comes."""
        loop = asyncio.get_running_loop()
        attempt = 0
        try:
            while not self._is_to_stop():
                began = loop.time()
                self.attempts += 1
                try:
                    self.epoch = await events.next_epoch()
                    await self._serve(self.epoch, events)
                except (aiomqtt.MqttError, OSError, LinkLost, StoreUnavailable) as error:
                    if self._is_to_stop():
                        break
                    if loop.time() - began > self._options.backoff[1]:
                        # sooner it is no success: two with one client id would go on taking the session from each other
                        attempt = 0
                    await self._pause(error, attempt, events)
                    attempt += 1
        finally:
            self._closed.set()

    async def close(self, patience: float) -> None:
        """Let the broker have what was published, and leave: no will, session kept.

        Args:
            patience: seconds that each of the two may take.
        """
        with suppress(TimeoutError):
            if self._connection is not None:
                await asyncio.wait_for(self._connection.idle(), patience)
        self._closing.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), patience)

    async def _serve(self, epoch: int, events: LinkEvents) -> None:
        """One connection from its beginning to its end, which is orderly only when the link is closed."""
        options = self._options
        # a fresh client each time: a used one would send what belongs to the connection before
        tls = await asyncio.to_thread(options.tls.context) if options.tls else None
        client = self._client(tls, *events.will(epoch))
        connection = Connection(
            client,
            window=options.publish_window,
            owed=self._owed,
            on_delivery=events.delivery,
            on_live=self._use,
        )
        try:
            async with client:
                await connection.hold(self._subscribe(client), "subscribe")
                log.info("link_connected", epoch=epoch, session_present=connection.session_present)
                events.connected(Connected(epoch, bool(connection.session_present)))
                await connection.hold(self._closing.wait(), "link closing")
        finally:
            self._connection = None
            connection.end()

    def _is_to_stop(self) -> bool:
        # a good-bye that the broker does not take in time hides the cancellation behind an error of its own
        task = asyncio.current_task()
        return self._closing.is_set() or (task is not None and task.cancelling() > 0)

    def _use(self, connection: Connection) -> None:
        self._connection = connection

    def _client(self, tls: ssl.SSLContext | None, will_topic: str, will_payload: bytes) -> aiomqtt.Client:
        options = self._options
        connect = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        connect.ReceiveMaximum = options.receive_maximum
        connect.SessionExpiryInterval = options.session_expiry
        delay = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
        delay.WillDelayInterval = options.will_delay
        is_unix = bool(options.socket_path)
        return aiomqtt.Client(
            options.socket_path if is_unix else options.host,
            options.port,
            transport="unix" if is_unix else "tcp",
            identifier=options.client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            properties=connect,
            username=options.username or None,
            password=options.password or None,
            tls_context=tls,
            will=aiomqtt.Will(will_topic, will_payload, qos=1, retain=True, properties=delay),
            keepalive=options.keepalive,
            timeout=options.connect_timeout,
            max_inflight_messages=_PUBLISHES_UNLIMITED,
            socket_options=() if is_unix else ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
            logger=_UNHEARD,
        )

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        # retainAsPublished: without it a retained command would look like any other
        wanted = [(one, SubscribeOptions(qos=1, retainAsPublished=True)) for one in self._filters]
        wishes = [(one, SubscribeOptions(qos=0)) for one in self._wishes]
        for one, code in zip(self._filters, await client.subscribe(wanted + wishes), strict=False):
            if getattr(code, "is_failure", False):
                raise LinkLost(f"the broker denies the subscription to {one}: {code}")

    async def _pause(self, error: Exception, attempt: int, events: LinkEvents) -> None:
        """Tell what is wrong, and wait before the next attempt."""
        reason = str(error)
        if self._options.tls is not None and "timed out" in reason:
            reason += " (a broker that misses a client certificate often just stays silent)"
        if reason == BROKE_OFF and attempt >= _NO_ACCIDENT:
            # mosquitto 2.0 does not say it when it takes the session away, and not always when it denies a message
            reason += " (has another client the same client id, or does the broker deny a message?)"
        backoff = self._options.backoff
        pause = random.uniform(backoff[0], longest_pause(backoff, attempt))  # noqa: S311 - no secret
        tell, event = (log.error, "link_refused") if isinstance(error, MqttConnectError) else (log.warning, "link_lost")
        tell(event, reason=reason, attempt=attempt, next_try_s=round(pause, 1), epoch=self.epoch)
        events.lost(reason)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), pause)


def longest_pause(backoff: tuple[float, float], attempt: int) -> float:
    """Seconds to wait at most after so many failures: twice as long each time, up to the limit."""
    shortest, longest = backoff
    return max(shortest, min(longest, shortest * 2.0 ** min(attempt, _DOUBLINGS)))
