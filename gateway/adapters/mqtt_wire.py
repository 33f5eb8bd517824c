"""The bytes of a connection: messages and their acknowledgements past paho, everything else through it.

paho asks the system four times for each packet that it reads, and once for each that it writes. Here all that has come
is read in one go, and what a turn of the event loop has brought is written in one go, in line with what paho sends.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import aiomqtt
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.enums import MQTTErrorCode

from gateway.adapters.mqtt_packets import PUBACK, PUBLISH, Incoming, MalformedPacket, Publish, read_puback, read_publish

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

_CHUNK: Final = 16_384
"""Bytes that are read at a time: of the smallest messages as many as the loop can take in a few ms."""

_KIND: Final = 0xF0


class Wire:
    """What goes over the socket of a paho client.

    Attributes:
        fault: what was wrong with what came; empty while nothing was.
    """

    def __init__(
        self, client: aiomqtt.Client, on_publish: Callable[[Publish], None], on_puback: Callable[[int, int], None]
    ) -> None:
        """Take over reading and writing; before the client connects.

        Args:
            client: whose socket it is.
            on_publish: called with each message.
            on_puback: called with packet id and reason code of each acknowledgement.
        """
        self.fault = ""
        self._client = client
        self._paho: PahoClient = client._client  # noqa: SLF001 - aiomqtt offers no public way to it
        self._paho._packet_read = self._read  # type: ignore[method-assign]  # noqa: SLF001 - what loop_read() calls
        self._paho.on_socket_register_write = self._wants_to_write
        self._on_publish = on_publish
        self._on_puback = on_puback
        self._incoming = Incoming()
        self._unsent: list[bytes] = []
        self._closed = False
        self._loop = asyncio.get_running_loop()

    def put(self, packet: bytes) -> None:
        """Send it with all others of this turn of the loop."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(packet)

    def close(self) -> None:
        """Neither send nor read any more."""
        self._closed = True
        self._unsent.clear()

    def packet_id(self) -> int:
        """The next one; paho's SUBSCRIBE takes one, too."""
        return self._paho._mid_generate()  # noqa: SLF001

    def _read(self) -> MQTTErrorCode:
        paho = self._paho
        try:
            data = paho._sock_recv(_CHUNK)  # noqa: SLF001 - knows what TLS says in place of "nothing there"
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_AGAIN
        except OSError:
            data = b""
        if not data:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        paho._last_bytes_received = time.monotonic()  # noqa: SLF001 - paho pings when it is too long ago
        try:
            for header, body in self._incoming.cut(data):
                if code := self._take(header, body):
                    return code
        except MalformedPacket as error:
            self.fault = str(error)
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _take(self, header: int, body: bytes) -> MQTTErrorCode:
        kind = header & _KIND
        if self._closed:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        if kind == PUBLISH:
            self._on_publish(read_publish(header, body))
        elif kind == PUBACK:
            self._on_puback(*read_puback(body))
        else:
            packet = self._paho._in_packet  # noqa: SLF001 - where paho looks for it
            packet["command"], packet["packet"], packet["remaining_length"] = header, bytearray(body), len(body)
            return self._paho._packet_handle()  # noqa: SLF001
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _flush(self) -> None:
        if not self._unsent:
            return
        together = b"".join(self._unsent)
        self._unsent.clear()
        # to paho it is one packet, about which there is nothing to do once it is written
        packet = {"command": PUBLISH, "mid": 0, "qos": 1, "pos": 0, "info": None}
        self._paho._out_packet.append(  # noqa: SLF001 - its own way wakes the loop up for each of them
            {**packet, "packet": together, "to_process": len(together)}  # type: ignore[typeddict-item]
        )
        self._write()

    def _wants_to_write(self, _client: PahoClient, _userdata: object, end: "SocketLike") -> None:
        # may come from the thread that connects
        self._loop.call_soon_threadsafe(self._watch_for_writing, end)

    def _watch_for_writing(self, end: "SocketLike") -> None:
        # aiomqtt goes by the number, which paho may have closed by now, and which may be somebody else's; and what was
        # to be written may have gone out since: paho has said so already, and nobody would stop the loop from watching
        if end.fileno() >= 0 and self._paho.want_write():
            self._loop.add_writer(end.fileno(), self._write)

    def _write(self) -> None:
        disconnected = self._client._disconnected  # noqa: SLF001 - where a failing read is told, too
        try:
            self._paho.loop_write()
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection is no good
            if not disconnected.done():
                disconnected.set_exception(error)
