"""What the link uses of aiomqtt and paho although it is private, or must behave as it does today."""

import socket
import time

import aiomqtt
import pytest
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import MQTTv5
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode


async def test_aiomqtt_has_the_paho_client_and_the_future_of_the_end() -> None:
    client = aiomqtt.Client("broker", timeout=3)
    assert isinstance(client._client, PahoClient)
    assert not client._disconnected.done()
    assert client.timeout == 3


@pytest.mark.parametrize("name", ["on_connect", "on_disconnect", "on_socket_register_write"])
async def test_aiomqtt_leaves_its_callbacks_in_the_paho_client(name: str) -> None:
    client = aiomqtt.Client("broker")
    # both are bound methods of that name
    assert getattr(client._client, name) == getattr(client, f"_{name}")


def test_paho_reads_with_the_method_that_the_link_replaces() -> None:
    paho = PahoClient(CallbackAPIVersion.VERSION2)
    ours, theirs = socket.socketpair()
    paho._sock = ours
    asked: list[str] = []

    def read() -> MQTTErrorCode:
        asked.append("read")
        return MQTTErrorCode.MQTT_ERR_AGAIN

    paho._packet_read = read  # type: ignore[method-assign]
    assert paho.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert asked == ["read"]
    ours.close()
    theirs.close()


def test_paho_handles_a_packet_that_the_link_has_read() -> None:
    paho = PahoClient(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    told: list[int] = []
    paho.on_subscribe = lambda *arguments: told.append(arguments[2])
    packet = paho._in_packet
    packet["command"], packet["packet"], packet["remaining_length"] = 0x90, bytearray(b"\x00\x07\x00\x01"), 4
    assert paho._packet_handle() == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert told == [7]


def test_paho_writes_what_the_link_puts_in_line_and_forgets_it() -> None:
    paho = PahoClient(CallbackAPIVersion.VERSION2)
    ours, theirs = socket.socketpair()
    paho._sock = ours
    paho._out_packet.append(
        {"command": 0x30, "mid": 0, "qos": 1, "pos": 0, "info": None, "packet": b"two packets", "to_process": 11}
    )
    assert paho.loop_write() == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert theirs.recv(100) == b"two packets"
    assert not paho.want_write()
    ours.close()
    theirs.close()


def test_paho_pings_by_the_time_of_the_last_byte_and_can_be_cut_off() -> None:
    paho = PahoClient(CallbackAPIVersion.VERSION2)
    assert abs(paho._last_bytes_received - time.monotonic()) < 60
    assert paho._mid_generate() != paho._mid_generate()
    paho._sock_close()
    assert paho.socket() is None
