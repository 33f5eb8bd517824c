"""What the link uses of aiomqtt and paho although it is private, or must behave as it does today."""

import inspect

import aiomqtt
import pytest
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode


async def test_aiomqtt_has_the_paho_client_and_the_future_of_the_end() -> None:
    client = aiomqtt.Client("broker", timeout=3)
    assert isinstance(client._client, PahoClient)
    assert not client._disconnected.done()
    assert client.timeout == 3


@pytest.mark.parametrize("name", ["on_connect", "on_disconnect", "on_publish", "on_socket_register_write"])
async def test_aiomqtt_leaves_its_callbacks_in_the_paho_client(name: str) -> None:
    client = aiomqtt.Client("broker")
    # both are bound methods of that name
    assert getattr(client._client, name) == getattr(client, f"_{name}")


def test_paho_reads_every_publish_packet_with_the_method_that_the_link_replaces() -> None:
    paho = PahoClient(CallbackAPIVersion.VERSION2)
    bodies: list[bytes] = []

    def read() -> MQTTErrorCode:
        bodies.append(bytes(paho._in_packet["packet"]))
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    paho._handle_publish = read  # type: ignore[method-assign]
    paho._in_packet["command"] = 0x32
    paho._in_packet["packet"] = bytearray(b"body")
    assert paho._packet_handle() == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert bodies == [b"body"]


def test_paho_takes_acknowledgements_and_can_be_cut_off() -> None:
    paho = PahoClient(CallbackAPIVersion.VERSION2)
    assert list(inspect.signature(paho.ack).parameters) == ["mid", "qos"]
    assert list(inspect.signature(paho.manual_ack_set).parameters) == ["on"]
    paho._sock_close()
    assert paho.socket() is None
