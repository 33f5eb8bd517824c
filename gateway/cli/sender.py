"""A careful sender: the same command again and again, over one connection after the other, until it is settled.

Copies cost nothing: the gateway knows the command id, and answers each copy as it answered the first.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Any, Final

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from gateway.adapters.mqtt import TlsFiles
from gateway.adapters.mqtt_connection import Connection, MqttDelivery
from gateway.adapters.mqtt_owed import OwedPubacks
from gateway.cli.output import note
from gateway.errors import LinkLost, PublishRefused, SettingsError
from gateway.messages import MessageProperties
from gateway.settings import MqttSettings

Acknowledgement = dict[str, Any]

FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 15.0
RECONNECT_PAUSE: Final = 0.5
"""Seconds: until the second copy, between two copies at the most, between two attempts to connect again."""

_NOT_AUTHORISED: Final = frozenset({0x86, 0x87, 0x8A, 0x8C})
"""Reason codes of CONNACK: bad name or password, not authorized, banned, bad authentication method."""

_UNHEARD: Final = logging.getLogger("gateway.cli.paho")
"""Where aiomqtt and paho complain of what is told here anyway."""
_UNHEARD.disabled = True


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A command, ready to be published as often as it takes."""

    command_id: str
    topic: str
    payload: bytes
    reply_topic: str


class Sender:
    """Sends one command."""

    def __init__(self, outgoing: Outgoing, mqtt: MqttSettings) -> None:
        self._outgoing = outgoing
        self._mqtt = mqtt
        self._tls = _tls_context(mqtt)
        self._newest: Acknowledgement | None = None
        self._connected_before = False

    async def settle(self, patience: float) -> Acknowledgement | None:
        """Send until the command is accepted or rejected, at most for so many seconds.

        Returns:
            The acknowledgement; one with the status ``deferred``, or none, where the time did not suffice.

        Raises:
            LinkLost: there is no broker from the start.
            PublishRefused: the broker does not let this user in, or not publish there.
        """
        asyncio.get_running_loop().set_exception_handler(_overlook_closed_sockets)
        try:
            async with asyncio.timeout(patience):
                return await self._settle()
        except TimeoutError:
            if not self._connected_before:
                raise LinkLost(f"no answer from the broker within {patience:g} s") from None
            return self._newest

    async def _settle(self) -> Acknowledgement:
        while True:
            try:
                return await self._settle_over_one_connection()
            except (LinkLost, aiomqtt.MqttError) as error:
                if isinstance(error, aiomqtt.MqttCodeError) and _code(error) in _NOT_AUTHORISED:
                    raise PublishRefused(f"the broker does not let {self._mqtt.username!r} in: {error.rc}") from error
                if not self._connected_before:
                    raise LinkLost(f"the broker cannot be reached: {error}") from error
            await asyncio.sleep(RECONNECT_PAUSE)

    async def _settle_over_one_connection(self) -> Acknowledgement:
        arrivals: asyncio.Queue[Acknowledgement] = asyncio.Queue()
        client = self._client()
        connection = Connection(
            client,
            window=1,
            owed=OwedPubacks(),
            on_delivery=self._reader(arrivals),
            on_live=lambda _connection: None,
        )
        try:
            async with client:
                await self._subscribe(client)
                self._connected_before = True
                return await connection.hold(self._repeat(connection, arrivals), "send")
        finally:
            connection.end()

    async def _repeat(self, connection: Connection, arrivals: "asyncio.Queue[Acknowledgement]") -> Acknowledgement:
        properties = MessageProperties(response_topic=self._outgoing.reply_topic, content_type="application/json")
        pause = FIRST_PAUSE
        while True:
            try:
                await connection.publish(self._outgoing.topic, self._outgoing.payload, properties, retain=False)
            except PublishRefused as error:
                raise PublishRefused(f"the broker refuses a message to {self._outgoing.topic}: {error}") from error
            patience = pause
            while (ack := await _next(arrivals, patience)) is not None:
                if ack["status"] != "deferred":
                    return ack
                if self._newest is None or ack["code"] != self._newest["code"]:
                    note(f"not settled yet: {_reason(ack)}")
                self._newest = ack
                patience = _again_after(ack)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _reader(self, arrivals: "asyncio.Queue[Acknowledgement]") -> Callable[[MqttDelivery], None]:
        def read(delivery: MqttDelivery) -> None:
            delivery.acknowledge()
            ack = _read(delivery.payload)
            if ack is not None and ack.get("command_id") == self._outgoing.command_id:
                arrivals.put_nowait(ack)

        return read

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        for code in await client.subscribe(self._outgoing.reply_topic, qos=1):
            if isinstance(code, ReasonCode) and code.is_failure:
                raise PublishRefused(f"the broker denies the subscription to {self._outgoing.reply_topic}: {code}")

    def _client(self) -> aiomqtt.Client:
        mqtt = self._mqtt
        return aiomqtt.Client(
            mqtt.socket or mqtt.host,
            mqtt.port,
            transport="unix" if mqtt.socket else "tcp",
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            username=mqtt.username or None,
            password=mqtt.password.get_secret_value() or None,
            tls_context=self._tls,
            keepalive=mqtt.keepalive,
            timeout=mqtt.connect_timeout,
            logger=_UNHEARD,
        )


def _overlook_closed_sockets(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # aiomqtt may still be about to watch a socket that the broker has just closed; the loss itself is noticed elsewhere
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


async def _next(arrivals: "asyncio.Queue[Acknowledgement]", patience: float) -> Acknowledgement | None:
    """The next acknowledgement, or none within so many seconds."""
    try:
        async with asyncio.timeout(patience):
            return await arrivals.get()
    except TimeoutError:
        return None


def _read(payload: bytes) -> Acknowledgement | None:
    """The acknowledgement in a message; none where it is something else."""
    try:
        body = json.loads(payload)
    except ValueError:
        return None
    match body:
        case {"status": str(), "code": int()}:
            return dict(body)
        case _:
            return None


def _again_after(ack: Acknowledgement) -> float:
    """Seconds until the same command is sent again. Where none are named, the gateway has it, and will tell."""
    match ack:
        case {"retry_after_ms": int(milliseconds)}:
            return milliseconds / 1_000
        case _:
            return LONGEST_PAUSE


def _reason(ack: Acknowledgement) -> str:
    match ack:
        case {"error": {"message": str(message)}}:
            return message
        case _:
            return f"code {ack['code']}"


def _code(error: aiomqtt.MqttCodeError) -> int | None:
    return error.rc.value if isinstance(error.rc, ReasonCode) else error.rc


def _tls_context(mqtt: MqttSettings) -> SSLContext | None:
    if not mqtt.tls.enabled:
        return None
    ca, certificate, key = (
        Path(name) if name else None for name in (mqtt.tls.ca_file, mqtt.tls.cert_file, mqtt.tls.key_file)
    )
    try:
        return TlsFiles(ca, certificate, key).context()
    except OSError as error:
        raise SettingsError(f"mqtt.tls: {error}") from error
