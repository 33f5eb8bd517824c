"""How the command line reaches the broker: a connection that hears one topic and sends."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from ssl import SSLContext
from typing import Any, Final

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from gateway.adapters.mqtt import TlsFiles
from gateway.adapters.mqtt_connection import Connection, MqttDelivery
from gateway.adapters.mqtt_owed import OwedPubacks
from gateway.errors import LinkLost, PublishRefused, SettingsError
from gateway.messages import MessageProperties
from gateway.settings import MqttSettings

_NOT_AUTHORISED: Final = frozenset({0x86, 0x87, 0x8A, 0x8C})
"""Reason codes of CONNACK: bad name or password, not authorized, banned, bad authentication method."""

_UNHEARD: Final = logging.getLogger("gateway.cli.paho")
"""Where aiomqtt and paho complain of what is told here anyway."""
_UNHEARD.disabled = True


class Dialler:
    """Makes one connection after the other, with a session of its own each."""

    def __init__(self, mqtt: MqttSettings) -> None:
        self._mqtt = mqtt
        self._tls = _tls_context(mqtt)

    @asynccontextmanager
    async def dial(self, topic: str, on_delivery: Callable[[MqttDelivery], None]) -> AsyncIterator[Connection]:
        """A connection that is subscribed to this topic.

        Raises:
            LinkLost: there is no broker, or none any more.
            PublishRefused: the broker does not let this user in, or not hear this topic.
        """
        asyncio.get_running_loop().set_exception_handler(_overlook_closed_sockets)
        client = self._client()
        connection = Connection(
            client, window=1, owed=OwedPubacks(), on_delivery=on_delivery, on_live=lambda _connection: None
        )
        try:
            async with client:
                await _subscribe(client, topic)
                yield connection
        except aiomqtt.MqttError as error:
            if isinstance(error, aiomqtt.MqttCodeError) and _code(error) in _NOT_AUTHORISED:
                raise PublishRefused(f"the broker does not let {self._mqtt.username!r} in: {error.rc}") from error
            raise LinkLost(f"the broker cannot be reached: {error}") from error
        finally:
            connection.end()

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


async def publish(connection: Connection, topic: str, payload: bytes, properties: MessageProperties) -> None:
    """Send a message, and wait until the broker has it.

    Raises:
        LinkLost: the connection ended before.
        PublishRefused: the broker does not let this user publish there.
    """
    try:
        await connection.publish(topic, payload, properties, retain=False)
    except PublishRefused as error:
        raise PublishRefused(f"the broker refuses a message to {topic}: {error}") from error


async def _subscribe(client: aiomqtt.Client, topic: str) -> None:
    for code in await client.subscribe(topic, qos=1):
        if isinstance(code, ReasonCode) and code.is_failure:
            raise PublishRefused(f"the broker denies the subscription to {topic}: {code}")


def _overlook_closed_sockets(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # aiomqtt may still be about to watch a socket that the broker has just closed; the loss itself is noticed elsewhere
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


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
