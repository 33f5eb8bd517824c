"""A technician at the broker: speaks MQTT and nothing else, and repeats a command until it is acknowledged."""

import asyncio
import json
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from aiomqtt import Client, Message, ProtocolVersion
from paho.mqtt.client import topic_matches_sub
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

ROOT: Final = "edge/gw1"
AGAIN_AFTER: Final = 3.0
PATIENCE: Final = 20.0
PARKED: Final = 202

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came; ``topic`` is what stands below the root."""

    topic: str
    payload: bytes
    retain: bool
    content_type: str | None
    correlation: bytes | None
    user: tuple[tuple[str, str], ...]

    @property
    def body(self) -> Body:
        """The JSON object in it; empty for the empty message that removes a retained one."""
        return json.loads(self.payload) if self.payload else {}


class Technician:
    """One MQTT connection.

    Attributes:
        received: every message but acknowledgements, in order.
        latest: the newest message of each topic.
        acks: every acknowledgement, by command id; in order.
    """

    def __init__(self, client: Client, version: ProtocolVersion) -> None:
        self.received: list[Received] = []
        self.latest: dict[str, Received] = {}
        self.acks: defaultdict[str, list[Received]] = defaultdict(list)
        self._client = client
        self._version = version
        self._watched: set[str] = set()
        self._awaited: list[tuple[Callable[[Received], bool], asyncio.Future[Received]]] = []
        self._unanswered: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    async def send(
        self,
        actor: str,
        device: str,
        command: str,
        data: Mapping[str, object] | None = None,
        *,
        id: str | None = None,
        again_after: float = AGAIN_AFTER,
        patience: float = PATIENCE,
        **envelope: object,
    ) -> Body:
        """Publish a command, again and again with the same id, until there is a new answer that is not "parked"."""
        command_id = id or str(uuid4())
        seen = len(self.acks[command_id])
        body = {"command_id": command_id, "data": data or {}, **envelope}
        async with asyncio.timeout(patience):
            while True:
                await self.publish(f"cmd/{actor}/{device}/{command}", body)
                try:
                    return await self.final(command_id, seen, within=again_after)
                except TimeoutError:
                    continue

    async def ack(self, command_id: str, index: int = 0, *, within: float = PATIENCE) -> Body:
        """The acknowledgement of this command with this index, once it is there."""
        acks = self.acks[command_id]
        async with asyncio.timeout(within):
            while len(acks) <= index:
                arrival = asyncio.get_running_loop().create_future()
                self._unanswered[command_id].add(arrival)
                await arrival
        return acks[index].body

    async def final(self, command_id: str, index: int = 0, *, within: float = PATIENCE) -> Body:
        """The first acknowledgement from this index on that does not only say that the command is parked."""
        async with asyncio.timeout(within):
            while (ack := await self.ack(command_id, index, within=within))["code"] == PARKED:
                index += 1
            return ack

    async def publish(
        self,
        topic: str,
        body: object,
        *,
        qos: int = 1,
        retain: bool = False,
        response_topic: str | None = None,
        correlation: bytes | None = None,
        user: tuple[tuple[str, str], ...] = (),
        expiry: int | None = None,
    ) -> None:
        """Publish below the root; what is no bytes becomes JSON."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        properties = None
        if self._version is ProtocolVersion.V5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            if response_topic is not None:
                properties.ResponseTopic = f"{ROOT}/{response_topic}"
            if correlation is not None:
                properties.CorrelationData = correlation
            if user:
                properties.UserProperty = list(user)
            if expiry is not None:
                properties.MessageExpiryInterval = expiry
        await self._client.publish(f"{ROOT}/{topic}", payload, qos=qos, retain=retain, properties=properties)

    async def watch(self, pattern: str) -> None:
        """Subscribe to a topic filter below the root, unless an earlier one covers it."""
        if not any(topic_matches_sub(earlier, pattern) for earlier in self._watched):
            self._watched.add(pattern)
            await self._client.subscribe(f"{ROOT}/{pattern}", qos=1)

    async def until(self, topic: str, holds: Callable[[Body], bool] = bool, *, within: float = PATIENCE) -> Body:
        """The newest body on a topic, as soon as this holds for it."""
        await self.watch(topic)
        newest = self.latest.get(topic)
        if newest is not None and holds(newest.body):
            return newest.body
        return (await self.coming(lambda message: message.topic == topic and holds(message.body), within=within)).body

    async def first(self, matches: Callable[[Received], bool], *, within: float = PATIENCE) -> Received:
        """The first message, received already or still to come, that matches."""
        for message in self.received:
            if matches(message):
                return message
        return await self.coming(matches, within=within)

    async def coming(self, matches: Callable[[Received], bool], *, within: float = PATIENCE) -> Received:
        """The next message that matches."""
        future: asyncio.Future[Received] = asyncio.get_running_loop().create_future()
        self._awaited.append((matches, future))
        return await asyncio.wait_for(future, within)

    async def next_live(self, topic: str) -> Body:
        """The next body that is published on a topic, not what is retained there already."""
        await self.watch(topic)
        return (await self.coming(lambda message: message.topic == topic and not message.retain)).body

    async def listen(self) -> None:
        """Take what comes, for ever."""
        async for message in self._client.messages:
            self._take(_received(message))

    def _take(self, message: Received) -> None:
        self.latest[message.topic] = message
        if message.topic.startswith("ack/"):
            command_id = message.body["command_id"]
            self.acks[command_id].append(message)
            for arrival in self._unanswered.pop(command_id, ()):
                if not arrival.done():
                    arrival.set_result(None)
        else:
            self.received.append(message)
        for awaited in [one for one in self._awaited if one[1].done() or one[0](message)]:
            self._awaited.remove(awaited)
            if not awaited[1].done():
                awaited[1].set_result(message)


@asynccontextmanager
async def technician(port: int, version: ProtocolVersion = ProtocolVersion.V5) -> AsyncIterator[Technician]:
    """A technician connected to the broker on this loopback port, who sees all acknowledgements."""
    client = Client(
        "127.0.0.1",
        port,
        protocol=version,
        timeout=PATIENCE,
        # small packets wait 40 ms for company otherwise
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )
    async with technician_at(client, version) as one:
        yield one


@asynccontextmanager
async def technician_at(client: Client, version: ProtocolVersion) -> AsyncIterator[Technician]:
    """A technician at a client that is yet to connect, who sees all acknowledgements that it may see."""
    async with client:
        client.pending_calls_threshold = 1_000
        one = Technician(client, version)
        await one.watch("ack/#")
        listening = asyncio.create_task(one.listen(), name="technician")
        try:
            yield one
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def retained(port: int, pattern: str) -> dict[str, Received]:
    """Every retained message of the gateway whose topic matches, by topic: what a newcomer is told."""
    async with technician(port) as newcomer:
        await newcomer.watch(pattern)
        await newcomer.watch("end")
        await newcomer.publish("end", {})  # is itself not retained, and comes behind everything that is
        await newcomer.until("end", lambda _: True)
        return {message.topic: message for message in newcomer.received if message.retain}


def _received(message: Message) -> Received:
    properties = message.properties
    return Received(
        topic=message.topic.value.removeprefix(f"{ROOT}/"),
        payload=message.payload,
        retain=bool(message.retain),
        content_type=getattr(properties, "ContentType", None),
        correlation=getattr(properties, "CorrelationData", None),
        user=tuple(getattr(properties, "UserProperty", ())),
    )


def verdict(ack: Body) -> tuple[int | str, ...]:
    """An acknowledgement in short: its code, then what it caused, or why it was refused."""
    if "error" in ack:
        return ack["code"], ack["error"]["type"]
    return ack["code"], *(event["type"] for event in ack["events"])
