"""A short-lived client that looks at a broker: what it grants, what it refuses, and whether it keeps a session."""

import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.adapters.mqtt import LinkOptions
from gateway.errors import LinkLost

_TICK: Final = 0.05
_WINDOW: Final = 20
"""Of our messages that may be unconfirmed; the broker's own limit counts too, and paho does not look at it."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What CONNACK says.

    Attributes:
        refusal: why nobody is let in; empty where somebody is.
        session_present: whether the broker knew this client id.
        properties: the MQTT 5 properties, by their names in paho.
        certificate: of the broker, as Python's ssl tells it; empty without TLS.
    """

    refusal: str
    session_present: bool
    properties: dict[str, Any]
    certificate: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that came.

    Attributes:
        is_retained: whether it had been kept by the broker, for whoever subscribes.
        expiry: seconds until it expires, as the broker told them; ``None`` where it told none.
    """

    payload: bytes
    is_retained: bool = False
    expiry: int | None = None


@dataclass(slots=True)
class Probe:
    """One client id, over several connections. Every wait is bounded by ``options.connect_timeout``."""

    options: LinkOptions
    _client: Client | None = field(default=None, init=False)
    _granted: Granted | None = field(default=None, init=False)
    _codes: dict[int, ReasonCode] = field(default_factory=dict, init=False)
    _messages: dict[str, list[Heard]] = field(default_factory=dict, init=False)
    _leaves_session: bool = field(default=False, init=False)

    def as_nobody(self) -> "Probe":
        """The same without user, password and certificate."""
        own = self.options
        tls = replace(own.tls, certificate=None, key=None) if own.tls else None
        return Probe(replace(own, client_id=f"{own.client_id}-nobody", username="", password="", tls=tls))

    def as_another(self) -> "Probe":
        """The same user under another client id."""
        return Probe(replace(self.options, client_id=f"{self.options.client_id}-too"))

    def connect(self, *, session_expiry: int, clean_start: bool = False) -> Granted:
        """Connect, and wait for CONNACK.

        Raises:
            LinkLost: there is no broker, or it does not answer.
            OSError: a file of TLS cannot be read, or the broker's certificate is not trusted.
        """
        options = self.options
        is_unix = bool(options.socket_path)
        client = self._client = Client(
            CallbackAPIVersion.VERSION2,
            options.client_id,
            protocol=MQTTv5,
            transport="unix" if is_unix else "tcp",
            reconnect_on_failure=False,
        )
        self._granted = None
        self._codes.clear()
        self._leaves_session = session_expiry > 0
        client.connect_timeout = options.connect_timeout
        if options.username:
            client.username_pw_set(options.username, options.password or None)
        if options.tls is not None:
            client.tls_set_context(options.tls.context())
        client.on_connect = self._connected
        client.on_publish = self._published
        client.on_message = self._received
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = session_expiry
        host = options.socket_path if is_unix else options.host
        client.connect(host, options.port, keepalive=15, clean_start=clean_start, properties=properties)
        self._wait(lambda: self._granted is not None, "no answer to CONNECT")
        if self._granted is None:
            raise LinkLost("the broker hangs up")
        return self._granted

    def subscribe(self, topic: str) -> None:
        """Ask for a topic; whether it is granted shows in what comes."""
        if self._client is not None:
            self._client.subscribe(topic, options=SubscribeOptions(qos=1))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, expiry: int | None = None) -> ReasonCode:
        """Publish with QoS 1; the reason code of PUBACK.

        Args:
            topic: on which.
            payload: what.
            retain: whether the broker is to keep it.
            expiry: seconds until it expires.

        Raises:
            LinkLost: the broker hung up over it, or said nothing.
        """
        return self._publish(topic, (payload,), expiry, retain=retain)[0]

    def publish_all(self, topic: str, payloads: Sequence[bytes], *, expiry: int) -> Sequence[ReasonCode]:
        """Publish many with QoS 1, as many at once as the broker takes; the reason codes in the same order.

        Raises:
            LinkLost: the broker hung up over them, or did not confirm all in time.
        """
        return self._publish(topic, payloads, expiry, retain=False)

    def heard(self, topic: str, patience: float) -> bytes | None:
        """The last message on a topic, awaited for so many seconds."""
        found = self.heard_all(topic, 1, patience)
        return found[-1].payload if found else None

    def heard_all(self, topic: str, count: int, patience: float) -> Sequence[Heard]:
        """What came on a topic: so many, or as many as there are when nothing more came for so many seconds."""
        seen, deadline = -1, 0.0
        while (came := len(self._messages.get(topic, ()))) < count and self._client is not None:
            if came > seen:
                seen, deadline = came, time.monotonic() + patience
            elif time.monotonic() >= deadline:
                break
            self._client.loop(_TICK)
        return self._messages.get(topic, [])

    def disconnect(self, *, session_expiry: int | None = None) -> None:
        """Leave; the session stays for as long as the connection had asked for, or for so many seconds."""
        if self._client is not None:
            properties = None
            if session_expiry is not None:
                properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
                properties.SessionExpiryInterval = session_expiry
            self._client.disconnect(properties=properties)
            self._client.loop(_TICK)
            self._client = None

    def forget(self) -> None:
        """Leave, and let the broker forget the session, if it may have kept one."""
        self.disconnect()
        if self._leaves_session:
            with suppress(OSError, LinkLost):
                self.connect(session_expiry=0, clean_start=True)
            self.disconnect()

    def _publish(
        self, topic: str, payloads: Sequence[bytes], expiry: int | None, *, retain: bool
    ) -> Sequence[ReasonCode]:
        if self._client is None:
            raise LinkLost("there is no connection")
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if expiry is not None:
            properties.MessageExpiryInterval = expiry
        told = self._granted.properties if self._granted is not None else {}
        window = min(_WINDOW, told.get("ReceiveMaximum", _WINDOW))
        codes: list[ReasonCode] = []
        while rest := payloads[len(codes) :]:
            sent = [
                self._client.publish(topic, payload, qos=1, retain=retain, properties=properties).mid
                for payload in rest[:window]
            ]
            self._wait(partial(set(sent).issubset, self._codes), f"no PUBACK for a message to {topic}")
            codes += [self._codes[number] for number in sent]
        return codes

    def _wait(self, done: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + self.options.connect_timeout
        while not done():
            if self._client is None or self._client.loop(_TICK) or time.monotonic() > deadline:
                if done():
                    return
                raise LinkLost(otherwise)

    def _connected(
        self, client: Client, _userdata: object, flags: ConnectFlags, code: ReasonCode, found: Properties | None
    ) -> None:
        line = client.socket()
        certificate = line.getpeercert() if isinstance(line, ssl.SSLSocket) else None
        self._granted = Granted(
            str(code) if code.is_failure else "",
            flags.session_present,
            found.json() if found is not None else {},  # type: ignore[no-untyped-call]
            dict(certificate or {}),
        )

    def _published(self, _client: Client, _userdata: object, number: int, code: ReasonCode, _found: Properties) -> None:
        self._codes[number] = code

    def _received(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        properties = message.properties.json() if message.properties is not None else {}  # type: ignore[no-untyped-call]
        heard = Heard(bytes(message.payload), message.retain, properties.get("MessageExpiryInterval"))
        self._messages.setdefault(message.topic, []).append(heard)
