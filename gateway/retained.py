"""Retained state, configuration, discovery: what the broker keeps comes from the read cache, again when in doubt."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import orjson
import structlog

from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Decider, Document
from gateway.errors import PublishRefused
from gateway.messages import MessageProperties
from gateway.ports import Publisher
from gateway.projection import Projection, Touched
from gateway.topics import Topics

log = structlog.get_logger()

WINDOW: Final = 20
"""Devices whose messages are on their way at once: few, so that acknowledgements do not wait behind them."""

_JSON = MessageProperties(content_type="application/json")
_GONE: Final = b""

Target = tuple[Decider[Any], str]


Announce = Callable[[Decider[Any], Document], tuple[str, bytes] | None]
"""Writes the retained message by which others find a device: topic and payload, empty where it is gone."""


class Retained:
    """Publishes each device's newest document, and never an older one after it.

    Attributes:
        ready: set while the read cache has caught up with the log; until then its documents may be older than those
            that the broker keeps.
    """

    def __init__(  # noqa: PLR0913 - each is one thing that it stands between
        self,
        publisher: Publisher,
        projection: Projection,
        catalogue: Catalogue,
        topics: Topics,
        *,
        ready: asyncio.Event,
        announce: Announce | None = None,
    ) -> None:
        self.ready = ready
        self._publisher = publisher
        self._projection = projection
        self._cache = projection.cache
        self._catalogue = catalogue
        self._topics = topics
        self._announce = announce
        # what was announced on this connection, in short: it is long, and hardly ever changes with the state
        self._announced: dict[str, int] = {}
        # changed devices go before those that are only sent again; both are conflated, in the order of the first change
        self._changed: dict[tuple[str, str], Target] = {}
        self._again: dict[tuple[str, str], Target] = {}
        self._refused: set[str] = set()
        self._connected = asyncio.Event()
        self._work = asyncio.Event()
        self._free = asyncio.Semaphore(WINDOW)

    @property
    def waiting(self) -> int:
        """How many devices the broker does not have in their newest state, as far as we know."""
        return len(self._changed) + len(self._again)

    def projected(self, touched: Touched) -> None:
        """These devices have new documents."""
        for decider, device in touched:
            self._changed[decider.category, device] = decider, device
        self._work.set()

    def connected(self) -> None:
        """The broker may have lost what it kept: everything is sent again, in the background."""
        self._refused.clear()
        self.send_again()
        self._connected.set()

    def send_again(self) -> None:
        """Somebody wants to be told everything, in the background."""
        self._announced.clear()
        for decider in self._catalogue:
            for device in self._cache.keys(decider.collection):
                self._again[decider.category, device] = decider, device
        self._work.set()

    def lost(self) -> None:
        """There is nobody to send to."""
        self._connected.clear()

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await self._free.acquire()
            await self._work.wait()
            await self._connected.wait()
            # last of all: a rebuild may begin during any of the other waits
            await self.ready.wait()
            target = self._next()
            if target is None:
                self._free.release()
                self._work.clear()
            else:
                self._send(target)

    def _next(self) -> Target | None:
        for waiting in (self._changed, self._again):
            if waiting:
                key, target = next(iter(waiting.items()))
                self._changed.pop(key, None)
                self._again.pop(key, None)
                return target
        return None

    def _send(self, target: Target) -> None:
        decider, device = target
        encoded = self._cache.encoded(decider.collection, device)
        if encoded is None:
            self._free.release()
            return
        state = self._projection.state(decider, device)
        gone = decider.is_retired(state)
        # first: whoever finds a device by it looks at the state then, and must not look at one that is gone
        sent = self._announcement(decider, encoded)
        sent["state"] = self._publish(self._topics.state(device), _GONE if gone else encoded)
        desired = decider.desired(state)
        if desired is not None:
            payload = orjson.dumps(desired) if desired and not gone else _GONE
            sent["config"] = self._publish(self._topics.config(device), payload)
        last = list(sent)[-1]
        for kind, message in sent.items():
            # the broker takes them in their order
            message.add_done_callback(partial(self._sent, kind, device, is_last=kind == last))

    def _sent(self, kind: str, device: str, message: "asyncio.Future[None]", *, is_last: bool) -> None:
        self._look(kind, device, message)
        if is_last:
            self._free.release()

    def _announcement(self, decider: Decider[Any], encoded: bytes) -> "dict[str, asyncio.Future[None]]":
        message = self._announce(decider, orjson.loads(encoded)) if self._announce is not None else None
        if message is None:
            return {}
        topic, payload = message
        if self._announced.get(topic) == hash(payload):
            return {}
        self._announced[topic] = hash(payload)
        return {"discovery": self._publish(topic, payload)}

    def _publish(self, topic: str, payload: bytes) -> "asyncio.Future[None]":
        return self._publisher.publish(topic, payload, retain=True, properties=_JSON)

    def _look(self, kind: str, device: str, message: "asyncio.Future[None]") -> None:
        # what a lost connection swallowed comes again with the next one, like everything else
        error = None if message.cancelled() else message.exception()
        if isinstance(error, PublishRefused) and kind not in self._refused:
            # told once a connection: an ACL that denies it for one device denies it for many
            self._refused.add(kind)
            log.warning("retained_refused_by_broker", kind=kind, device=device, reason=str(error))
