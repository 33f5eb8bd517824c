"""The link against a real broker."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.messages import MessageProperties
from tests.support.broker import Broker
from tests.support.gateway_process import REPOSITORY
from tests.support.link_log import running_link


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    one = Broker(tmp_path / "broker")
    one.start()
    yield one
    one.stop()


@asynccontextmanager
async def _client(broker: Broker, **options: object) -> AsyncIterator[aiomqtt.Client]:
    given = {"protocol": aiomqtt.ProtocolVersion.V5, **options}
    async with aiomqtt.Client("127.0.0.1", broker.port, **given) as client:  # type: ignore[arg-type]
        yield client


def _mosquitto_pub(broker: Broker, *arguments: str) -> None:
    subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-q", "1", *arguments], check=True, timeout=10)


async def test_a_client_of_3_1_1_is_heard_and_answered(broker: Broker) -> None:
    async with running_link(broker.port, acknowledging=True) as log:
        await log.until_connected()
        async with _client(broker, protocol=aiomqtt.ProtocolVersion.V311) as client:
            await client.subscribe("ack/#", qos=1)
            await client.publish("cmd/a", b"question", qos=1)
            (delivery,) = await log.until_delivered(1)
            assert (delivery.payload, delivery.properties) == (b"question", MessageProperties())
            await log.link.publish("ack/a", b"answer", properties=MessageProperties(content_type="text/plain"))
            assert (await anext(client.messages)).payload == b"answer"


async def test_properties_of_mqtt_5_pass_both_ways(broker: Broker) -> None:
    sent = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    sent.ResponseTopic, sent.CorrelationData, sent.UserProperty = "ack/a", b"\x00id", [("trace", "1")]
    async with running_link(broker.port, acknowledging=True) as log, _client(broker) as client:
        await log.until_connected()
        await client.subscribe("ack/#", qos=1)
        await client.publish("cmd/a", b"", qos=1, properties=sent)
        (delivery,) = await log.until_delivered(1)
        assert delivery.properties == MessageProperties("ack/a", b"\x00id", user=(("trace", "1"),))
        await log.link.publish("ack/a", b"", properties=delivery.properties)
        found = vars((await anext(client.messages)).properties)
        assert (found["CorrelationData"], found["UserProperty"]) == (b"\x00id", [("trace", "1")])


async def test_a_retained_message_is_recognised_on_a_live_subscription(broker: Broker) -> None:
    async with running_link(broker.port, acknowledging=True) as log:
        await log.until_connected()
        await asyncio.to_thread(_mosquitto_pub, broker, "-r", "-t", "cmd/a", "-m", "1")
        (delivery,) = await log.until_delivered(1)
        assert delivery.retain is True


async def test_a_byte_order_mark_in_a_property_does_not_end_the_connection(broker: Broker) -> None:
    async with running_link(broker.port, acknowledging=True) as log:
        await log.until_connected()
        user = ("-V", "5", "-D", "publish", "user-property", "name", "a\ufeffb")
        await asyncio.to_thread(_mosquitto_pub, broker, "-t", "cmd/a", "-m", "1", *user)
        (delivery,) = await log.until_delivered(1)
        assert delivery.properties.user == (("name", "a\ufeffb"),)
    assert log.lost == []


async def test_what_was_not_acknowledged_comes_again_in_order_and_is_said_to_be_a_copy(broker: Broker) -> None:
    async with _client(broker) as client:
        async with running_link(broker.port) as log:
            await log.until_connected()
            for number in range(20):
                await client.publish("cmd/a", str(number), qos=1)
            for delivery in (await log.until_delivered(20))[:5]:
                delivery.acknowledge()
            # a broker that is asked for the session anew reads no further on its old connection
            await log.link.publish("behind/the/acknowledgements", b"")
        async with running_link(broker.port, acknowledging=True) as log:
            again = await log.until_delivered(15)
            assert (await log.until_connected()).session_present is True
    assert [int(delivery.payload) for delivery in again] == list(range(5, 20))
    assert all(delivery.redelivered for delivery in again)


@pytest.mark.parametrize("end", [Broker.stop, Broker.kill])
async def test_a_broker_that_comes_back_is_connected_to_again(broker: Broker, end: Callable[[Broker], None]) -> None:
    async with running_link(broker.port, acknowledging=True) as log:
        await log.until_connected()
        await asyncio.to_thread(end, broker)
        await log.until_lost()
        await asyncio.to_thread(broker.start)
        await log.until_connected(2)
        async with _client(broker) as client:
            await client.publish("cmd/a", b"", qos=1)
            await log.until_delivered(1)
    epochs = [one.epoch for one in log.connected]
    assert epochs == sorted(set(epochs))


async def test_a_client_with_the_same_id_is_reported_and_survived(broker: Broker) -> None:
    async with running_link(broker.port) as log:
        await log.until_connected()
        async with _client(broker, identifier="gateway-1") as other:
            await log.until_lost()
            await log.until_connected(2)
            with pytest.raises(aiomqtt.MqttError):
                await anext(other.messages)


async def test_a_broker_that_only_stopped_answering_is_noticed(broker: Broker) -> None:
    async with running_link(broker.port, keepalive=1) as log:
        await log.until_connected()
        broker.pause()
        try:
            await log.until_lost()
        finally:
            broker.resume()
        await log.until_connected(2)


async def test_2000_messages_beyond_the_receive_maximum_all_come_in_order(broker: Broker) -> None:
    async with running_link(broker.port, receive_maximum=20, acknowledging=True) as log:
        await log.until_connected()
        lines = "".join(f"{number}\n" for number in range(2_000))
        command = ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", "cmd/a", "-l"]
        await asyncio.to_thread(subprocess.run, command, input=lines.encode(), check=True, timeout=30)
        deliveries = await log.until_delivered(2_000)
    assert [int(delivery.payload) for delivery in deliveries] == list(range(2_000))
    assert log.lost == []


async def test_2000_publishes_at_once_all_arrive_in_order(broker: Broker) -> None:
    async with running_link(broker.port, publish_window=50) as log, _client(broker) as client:
        await log.until_connected()
        await client.subscribe("ack/#", qos=1)
        await asyncio.gather(*(log.link.publish("ack/a", str(number).encode()) for number in range(2_000)))
        messages = [await anext(client.messages) for _ in range(2_000)]
    assert [int(bytes(message.payload)) for message in messages] == list(range(2_000))


HOLD = """
import asyncio, signal, sys
from tests.support.link_log import running_link

# a shell's background jobs are started with it ignored
signal.signal(signal.SIGINT, signal.default_int_handler)


async def main():
    async with running_link(int(sys.argv[1]), will_delay=0) as log:
        await log.until_connected()
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize(("ending", "told"), [(signal.SIGKILL, [b"offline 1"]), (signal.SIGINT, [])])
async def test_the_will_tells_of_a_process_that_was_killed_but_not_of_one_that_left(
    broker: Broker, ending: signal.Signals, told: list[bytes]
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLD, str(broker.port)),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    while (await process.stdout.readline()) != b"up\n":
        assert process.returncode is None
    process.send_signal(ending)
    await process.wait()
    async with _client(broker) as client:
        await client.subscribe("#", qos=1)
        await client.publish("end", b"", qos=1)
        messages = [await anext(client.messages)]
        while messages[-1].topic.value != "end":
            messages.append(await anext(client.messages))
    assert [message.payload for message in messages[:-1]] == told
