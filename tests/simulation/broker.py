"""A broker with one session, the gateway's: its queue, its window, its redelivery, and its ways to lose things."""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

import orjson

from gateway.messages import NO_PROPERTIES, MessageProperties
from tests.simulation.wire import Wire
from tests.simulation.world import World

Body = dict[str, Any]
Key = tuple[str, str, str]
"""Of a command: its actor, its device, its id."""

ROOT = "edge/gw1"

M = TypeVar("M")


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A copy of a command, on its way to the gateway.

    Attributes:
        number: of the copy, in the order in which the broker took them.
        key: of the command; ``None`` where nobody can be answered.
    """

    number: int
    key: Key | None
    topic: str
    payload: bytes
    retain: bool
    properties: MessageProperties


@dataclass
class Session:
    """What the broker keeps for the gateway, connected or not."""

    queue: deque[Message] = field(default_factory=deque)
    in_flight: "OrderedDict[int, Message]" = field(default_factory=OrderedDict)
    last_packet_id: int = 0
    before: dict[int, Message] = field(default_factory=dict)
    """What each packet id was given to before."""

    def packet_id(self, most: int) -> int:
        """The next one that is free: one that was acknowledged is soon another message's."""
        while True:
            self.last_packet_id = self.last_packet_id % most + 1
            if self.last_packet_id not in self.in_flight:
                return self.last_packet_id


class Broker:
    """Routes commands to the gateway, and what the gateway publishes to whom it is for.

    Attributes:
        delivered: each command with the number of its first and of its last delivery.
        dropped: commands of which a copy was lost here, after the broker had taken it.
        answers: what the gateway said of each command, as it arrived.
        pubacks: how many copies of each command the gateway has acknowledged.
        retained: by topic.
        feed: ids of the events that were published.
    """

    def __init__(
        self,
        world: World,
        on_answer: Callable[[Key, Body], None],
        in_inbox: Callable[[Key], bool],
        in_log: Callable[[str], bool],
    ) -> None:
        self.delivered: dict[Key, tuple[int, int]] = {}
        self.dropped: set[Key] = set()
        self.answers: defaultdict[Key, list[Body]] = defaultdict(list)
        self.pubacks: Counter[Key] = Counter()
        self.retained: dict[str, bytes] = {}
        self.feed: list[str] = []
        self.session: Session | None = None
        self._world = world
        self._on_answer = on_answer
        self._in_inbox = in_inbox
        self._in_log = in_log
        self._wire: Wire | None = None
        self._subscribed = False
        self._deliver: Callable[[Message, int, bool], None] = _ignore
        self._numbers = count(1)
        self._deliveries = count(1)
        self._last_confirmed = 0.0
        self._arrived: set[int] = set()
        self._last_to_sender = 0.0

    # the senders' side

    def take(
        self,
        key: Key | None,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        properties: MessageProperties = NO_PROPERTIES,
    ) -> None:
        message = Message(next(self._numbers), key, topic, payload, retain, properties)
        session = self.session
        if session is None or len(session.queue) >= self._world.limits.broker_queue:
            self._drop((message,), "the queue is full" if session is not None else "there is no session")
            return
        session.queue.append(message)
        self._pump()

    # the gateway's side

    def connect(self, wire: Wire, deliver: Callable[[Message, int, bool], None]) -> bool:
        """A client takes its session over; whether there was one."""
        if self._wire is not None:
            self._wire.close_broker_side()
            self._wire.cut()  # a CONNECT that a dead gateway has sent may come behind that of the next one
        self._wire, self._deliver = wire, deliver
        present = self.session is not None
        if self.session is None:
            self.session = Session()
            self._subscribed = False
        return present

    def resume(self) -> None:
        """Redeliver what was not acknowledged, before anything newer."""
        session = self.session
        if session is not None and self._subscribed:
            if not self._world.limits.ordered:
                session.in_flight = OrderedDict(self._disordered(list(session.in_flight.items()), lambda one: one[1]))
                session.queue = deque(self._disordered(list(session.queue), lambda one: one))
            for packet_id, message in session.in_flight.items():
                self._send(packet_id, message, again=True)
            self._pump()

    def subscribe(self) -> None:
        if not self._subscribed:
            self._subscribed = True
            self._pump()

    def lose_session(self) -> None:
        """Nobody remembers the gateway, nor what waited for it."""
        if self.session is not None:
            self._drop((*self.session.in_flight.values(), *self.session.queue), "the session is lost")
            self.session = None
        if self._wire is not None:
            self._wire.close_broker_side()
            self._wire.cut()

    def cut(self, *, skew: float = 0.5) -> None:
        if self._wire is not None:
            self._wire.cut(skew=skew)

    @property
    def is_idle(self) -> bool:
        """Whether the gateway has acknowledged all that it was sent."""
        return self.session is not None and not self.session.in_flight and not self.session.queue

    def puback(self, packet_id: int) -> None:
        session = self.session
        message = session.in_flight.pop(packet_id, None) if session is not None else None
        if message is None:
            return
        assert session is not None
        before, session.before[packet_id] = session.before.get(packet_id), message
        self._world.tell("broker", "PUBACK", message.key, message.number)
        key = message.key
        if key is not None and not (before is not None and self._is_twin(message, before)):
            self.pubacks[key] += 1
            if len(self.answers[key]) < self.pubacks[key]:
                self._world.broken(f"{key}: PUBACK before its answer was with the broker")
        self._pump()

    def receive(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """A message of the gateway."""
        kind = topic.removeprefix(f"{ROOT}/").split("/")[0]
        if retain:
            self.retained[topic] = payload
        elif kind == "event":
            self.feed.append(orjson.loads(payload)["id"])
        elif kind == "ack":
            self._answered(orjson.loads(payload))

    def confirm(self, wire: Wire, confirmed: Callable[[], None]) -> None:
        """PUBACK what the gateway published, in this order [MQTT-4.6.0-2]; perhaps late, perhaps twice."""
        world, weather = self._world, self._world.weather
        later = world.dice.uniform(0, weather.broker_delay) if weather.broker_delay else 0.0
        self._last_confirmed = max(self._last_confirmed, world.loop.time() + later)
        for _ in range(2 if world.chance(weather.broker_repeats) else 1):
            self._last_confirmed += 1e-6
            world.loop.call_at(self._last_confirmed, wire.to_client, confirmed)

    def _is_twin(self, message: Message, before: Message) -> bool:
        """Whether the gateway, which was not told that its PUBACK arrived, cannot know it from the one before.

        It has come only as one that is brought again, under the packet id of a copy with the same bytes.
        """
        return message.number not in self._arrived and (message.topic, message.payload) == (
            before.topic,
            before.payload,
        )

    def _disordered(self, messages: list[M], message_of: Callable[[M], Message]) -> list[M]:
        """In any order but among those of one topic: that is all that MQTT asks for [MQTT-4.6.0-6]."""
        topics = [message_of(one).topic for one in messages]
        self._world.dice.shuffle(topics)
        waiting: defaultdict[str, deque[M]] = defaultdict(deque)
        for one in messages:
            waiting[message_of(one).topic].append(one)
        return [waiting[topic].popleft() for topic in topics]

    def _answered(self, body: Body) -> None:
        world, key = self._world, (body["actor"], body["device"], body["command_id"])
        world.tell("broker", "answer", key, body["code"], body["duplicate"], body["revision"], body["position"])
        self.answers[key].append(body)
        for event in body["events"] if body["code"] in {200, 201} and "dry_run" not in body else ():
            if not self._in_log(event["id"]):
                world.broken(f"{key}: accepted before {event['type']} was in the log")
        if body["code"] == 202 and not self._in_inbox(key):
            world.broken(f"{key}: answered 202, but it is not in the inbox")
        self._last_to_sender = max(self._last_to_sender, world.loop.time() + world.dice.uniform(0.001, 0.02)) + 1e-6
        world.loop.call_at(self._last_to_sender, self._on_answer, key, body)

    def _pump(self) -> None:
        session, limit = self.session, self._world.limits.receive_maximum
        if session is None or not self._subscribed or self._wire is None or not self._wire.broker_side:
            return
        while session.queue and len(session.in_flight) < limit:
            packet_id, message = session.packet_id(self._world.limits.packet_ids), session.queue.popleft()
            session.in_flight[packet_id] = message
            self._send(packet_id, message, again=False)

    def _send(self, packet_id: int, message: Message, *, again: bool) -> None:
        assert self._wire is not None
        deliver = self._deliver

        def arrive() -> None:
            self._world.tell("gateway", "delivery", message.key, message.number, again)
            if message.key is not None:
                number = next(self._deliveries)
                self.delivered[message.key] = self.delivered.get(message.key, (number, number))[0], number
            if not again:
                self._arrived.add(message.number)
            deliver(message, packet_id, again)

        self._wire.to_client(arrive)

    def _drop(self, messages: "tuple[Message, ...]", reason: str) -> None:
        for message in messages:
            self._world.tell("broker", "dropped", message.key, message.number, reason)
            if message.key is not None:
                self.dropped.add(message.key)


def _ignore(_message: Message, _packet_id: int, _again: bool) -> None: ...  # noqa: FBT001 - as it is called
