"""A publisher that keeps what it is given, and confirms, loses or refuses it as the test says."""

import asyncio
from dataclasses import dataclass

from gateway.errors import LinkLost
from gateway.messages import NO_PROPERTIES, MessageProperties


@dataclass(frozen=True)
class Published:
    topic: str
    payload: bytes
    retain: bool
    properties: MessageProperties
    future: "asyncio.Future[None]"


class RecordingPublisher:
    """Attributes: ``confirms`` whether each publish is confirmed at once; ``is_up`` whether there is a connection."""

    def __init__(self) -> None:
        self.published: list[Published] = []
        self.confirms = True
        self.is_up = True

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, properties: MessageProperties = NO_PROPERTIES
    ) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self.is_up:
            fail(future, LinkLost("down"))
            return future
        self.published.append(Published(topic, payload, retain, properties, future))
        if self.confirms:
            future.set_result(None)
        return future

    def payloads(self, topic: str) -> list[bytes]:
        return [one.payload for one in self.published if one.topic == topic]

    def topics(self) -> list[str]:
        return [one.topic for one in self.published]


def fail(future: "asyncio.Future[None]", error: Exception) -> None:
    """As the link does: nobody has to look at it."""
    future.set_exception(error)
    future.exception()
