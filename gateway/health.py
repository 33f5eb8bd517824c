"""What the gateway says of itself over MQTT: status, health, info, and the ledger of losses."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import orjson
import structlog

from gateway.errors import PublishRefused
from gateway.messages import MessageProperties
from gateway.ports import Clock, Publisher
from gateway.topics import Topics

log = structlog.get_logger()

_JSON = MessageProperties(content_type="application/json")


class Health:
    """Publishes retained status, info and health.

    Attributes:
        interval: seconds between two health messages; nothing is published while there is no connection.
        probe: the current figures of the other parts.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that health tells of
        self,
        publisher: Publisher,
        topics: Topics,
        clock: Clock,
        counters: "Counter[str]",
        *,
        info: dict[str, Any],
        interval: float,
        probe: Callable[[], dict[str, Any]],
    ) -> None:
        self.interval = interval
        self.probe = probe
        self._publisher = publisher
        self._topics = topics
        self._clock = clock
        self._counters = counters
        self._info = orjson.dumps(info)
        self._started = clock.now()
        self._connected = asyncio.Event()
        self._refused: set[str] = set()

    def will(self, epoch: int) -> tuple[str, bytes]:
        """The message that the broker publishes when this connection dies."""
        return self._topics.status, status("offline", epoch, self._clock.now())

    def connected(self, epoch: int, *, session_lost: bool) -> None:
        """Tell everybody that the gateway is there, and of what may have got lost."""
        self._counters["connections"] += 1
        self._refused.clear()
        if session_lost:
            # the broker had forgotten us: whatever it held for us is gone
            self._counters["sessions_lost"] += 1
        self._publish(self._topics.status, status("online", epoch, self._clock.now()))
        self._publish(self._topics.info, self._info)
        self._connected.set()

    def lost(self) -> None:
        """The connection is gone."""
        self._connected.clear()

    def leave(self, epoch: int) -> "asyncio.Future[None]":
        """Say goodbye: the will is for those who cannot."""
        return self._publish(self._topics.status, status("offline", epoch, self._clock.now()))

    async def run(self) -> None:
        """Publish health for ever."""
        while True:
            await self._connected.wait()
            self.tell()
            await asyncio.sleep(self.interval)

    def tell(self) -> "asyncio.Future[None]":
        """Publish health now; done as :meth:`gateway.ports.Publisher.publish` says."""
        return self._publish(self._topics.health, self.report())

    def report(self) -> bytes:
        """The health message."""
        body = {
            "at": self._clock.now(),
            "since": self._started,
            **self.probe(),
            "counters": dict(sorted(self._counters.items())),
        }
        return orjson.dumps(body, option=orjson.OPT_UTC_Z)

    def _publish(self, topic: str, payload: bytes) -> "asyncio.Future[None]":
        published = self._publisher.publish(topic, payload, retain=True, properties=_JSON)
        published.add_done_callback(partial(self._published, topic))
        return published

    def _published(self, topic: str, published: "asyncio.Future[None]") -> None:
        error = None if published.cancelled() else published.exception()
        # once for each connection: it is tried again all the time
        if isinstance(error, PublishRefused) and topic not in self._refused:
            self._refused.add(topic)
            log.warning("figures_refused_by_broker", topic=topic, reason=str(error))


def status(state: str, epoch: int, since: datetime) -> bytes:
    """The retained status message."""
    return orjson.dumps({"state": state, "epoch": epoch, "since": since}, option=orjson.OPT_UTC_Z)
