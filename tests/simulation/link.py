"""The gateway's link to the model of the broker; it keeps the rules of the real one, and owes PUBACKs as that does."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

from gateway.adapters.mqtt_owed import OwedPubacks, SentPubacks
from gateway.errors import LinkLost, StoreUnavailable
from gateway.messages import NO_PROPERTIES, MessageProperties
from tests.simulation.broker import Broker, Message
from tests.simulation.wire import Wire
from tests.simulation.world import World, fail, resolve

CONNECT_TIMEOUT = 2.0
BACKOFF = (0.2, 3.0)


class LinkDelivery:
    """See :class:`~gateway.ports.Delivery`."""

    def __init__(self, connection: "Connection", message: Message, packet_id: int, *, redelivered: bool) -> None:
        self.topic = message.topic
        self.payload = message.payload
        self.retain = message.retain
        self.properties = message.properties
        self.redelivered = redelivered
        self.packet_id = packet_id
        self.is_settled = False
        self._connection = connection

    def acknowledge(self) -> None:
        self.is_settled = True
        self._connection.settled(self)


class Connection:
    """One connection from CONNECT to its end; all its state dies with it."""

    def __init__(self, world: World, broker: Broker, accept: Callable[[LinkDelivery], None], owed: OwedPubacks) -> None:
        self.live = False
        self.session_present = False
        self.connected = world.loop.create_future()
        self.ended = asyncio.Event()
        self.wire = Wire(world)
        self.wire.on_client_close = self.end
        self._world = world
        self._broker = broker
        self._accept = accept
        self._owed = owed
        self._unacknowledged: deque[LinkDelivery] = deque()
        self._told = SentPubacks()
        self._in_flight: dict[int, asyncio.Future[None]] = {}
        self._published = 0

    @property
    def is_confirmed(self) -> bool:
        """Whether the broker has confirmed all that was published."""
        return not self._in_flight

    async def open(self) -> None:
        """Connect and subscribe."""
        self.wire.to_broker(self._ask)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self.connected
        except TimeoutError:
            raise LinkLost("no CONNACK") from None
        subscribed = self._world.loop.create_future()
        self.wire.to_broker(self._broker.subscribe)
        self.wire.to_broker(lambda: self.wire.to_client(partial(resolve, subscribed)))
        ended = asyncio.ensure_future(self.ended.wait())
        try:
            await asyncio.wait((subscribed, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        if not self.live:
            raise LinkLost("the connection ended")

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = self._world.loop.create_future()
        if not self.live:
            fail(future, LinkLost("there is no connection to the broker"))
            return future
        self._published += 1
        number = self._published
        self._in_flight[number] = future

        def arrive() -> None:
            self._broker.receive(topic, payload, retain=retain)
            self._broker.confirm(self.wire, partial(self._confirmed, number))

        self.wire.to_broker(arrive)
        return future

    def settled(self, delivery: LinkDelivery) -> None:
        """PUBACK what is settled, in the order of receipt; too late, it is owed."""
        if not self.live and self._owed.debtor is self:
            self._owed.add(delivery.packet_id, delivery)
        while self.live and self._unacknowledged and self._unacknowledged[0].is_settled:
            acknowledged = self._unacknowledged.popleft()
            self._told.add(acknowledged.packet_id, acknowledged, self._published)
            self.wire.to_broker(partial(self._broker.puback, acknowledged.packet_id))

    def end(self) -> None:
        self.live = False
        for packet_id, told in self._told:
            self._owed.add(packet_id, told)
        for delivery in self._unacknowledged:
            if delivery.is_settled:
                self._owed.add(delivery.packet_id, delivery)
        self._told.clear()
        self._unacknowledged.clear()
        self.ended.set()
        for future in self._in_flight.values():
            fail(future, LinkLost("the connection ended before the broker confirmed"))
        self._in_flight.clear()

    def _ask(self) -> None:
        if not self._world.weather.broker_up:
            self.wire.to_client(self.wire.close_client_side)
            return
        present = self._broker.connect(self.wire, self._deliver)
        self.wire.to_client(partial(self._connack, present))
        self._broker.resume()

    def _connack(self, present: bool) -> None:  # noqa: FBT001 - as it is called
        self.live, self.session_present = True, present
        self._owed.debtor = self
        if not present:
            self._owed.forget()
        resolve(self.connected)

    def _deliver(self, message: Message, packet_id: int, redelivered: bool) -> None:  # noqa: FBT001 - as it is called
        delivery = LinkDelivery(self, message, packet_id, redelivered=redelivered)
        self._unacknowledged.append(delivery)
        self._told.given_anew(packet_id)
        if self._owed.take(packet_id, delivery):
            delivery.acknowledge()
        else:
            self._accept(delivery)

    def _confirmed(self, number: int) -> None:
        future = self._in_flight.pop(number, None)
        if future is not None:
            self._told.confirmed(number)
            resolve(future)


class Link:
    """One connection after the other; see :class:`~gateway.ports.Publisher`."""

    connection_type = Connection

    def __init__(self, world: World, broker: Broker, next_epoch: Callable[[], Awaitable[int]]) -> None:
        self.epoch = self.attempts = 0
        self.accept: Callable[[LinkDelivery], None]
        self.connected: Callable[[], None]
        self.lost: Callable[[], None]
        self.connection: Connection | None = None
        self._world = world
        self._broker = broker
        self._next_epoch = next_epoch
        self._owed = OwedPubacks()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        properties: MessageProperties = NO_PROPERTIES,  # noqa: ARG002 - nobody reads them here
    ) -> "asyncio.Future[None]":
        if self.connection is not None:
            return self.connection.publish(topic, payload, retain=retain)
        future: asyncio.Future[None] = self._world.loop.create_future()
        fail(future, LinkLost("there is no connection to the broker"))
        return future

    @property
    def is_confirmed(self) -> bool:
        """Whether the broker has confirmed all that was published on this connection; not without one."""
        return self.connection is not None and self.connection.is_confirmed

    async def run(self) -> None:
        attempt = 0
        while True:
            try:
                self.epoch = await self._next_epoch()
                await self._serve()
            except (LinkLost, StoreUnavailable) as error:
                self._world.tell("gateway", "no link", str(error))
                self.lost()
                await self._world.wait(BACKOFF[0], min(BACKOFF[1], BACKOFF[0] * 2**attempt))
                attempt = min(attempt + 1, 10)

    def kill(self) -> None:
        """The process is gone: the broker notices later."""
        if self.connection is not None:
            self.connection.wire.client_side = False
            self.connection.wire.cut()

    async def _serve(self) -> None:
        self.attempts += 1
        connection = self.connection_type(self._world, self._broker, self.accept, self._owed)
        self.connection = connection
        try:
            await connection.open()
            self._world.tell("gateway", "connected", self.epoch, connection.session_present)
            self.connected()
            await connection.ended.wait()
            raise LinkLost("the connection broke off")
        finally:
            self.connection = None
            connection.wire.close_client_side()
            connection.wire.cut()
