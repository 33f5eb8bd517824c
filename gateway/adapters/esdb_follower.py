"""One subscription follows the log in EventStoreDB for all who want to, and never ends.

A subscription of the client may end in silence: when its connection is made anew, when a server stops in good order,
when it is cancelled. And it may stay in silence, when its node has lost the others. So every end means:
go on from the last position; and silence for too long means the same.
"""

import asyncio
import random
from typing import Any, Final

import structlog

from gateway.adapters import esdb_client
from gateway.adapters.esdb_connection import EsdbConnection, uncut
from gateway.adapters.esdb_records import StreamNames, from_store
from gateway.adapters.recent_events import RecentEvents
from gateway.errors import StoreUnavailable
from gateway.messages import RecordedEvent

log = structlog.get_logger()

SHORTEST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 10.0

TOGETHER: Final = 0.005
"""Seconds between two times that events are handed over, of which each wakes all who follow; the first are at once."""


class EsdbFollower:
    """Puts every event of the log, from the head at its beginning, into the memory of recent events.

    Attributes:
        connected: whether a subscription stands.
    """

    def __init__(self, connection: EsdbConnection, names: StreamNames, recent: RecentEvents, silence: float) -> None:
        """Follow over a connection of its own; ``silence`` is how many seconds may pass without a word."""
        self.connected = False
        self._connection = connection
        self._names = names
        self._recent = recent
        self._silence = silence
        self._position: int | None = None
        self._told = ""
        self._arrived: list[RecordedEvent] = []
        self._handed_over = 0.0
        self._handing_over: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Follow for ever."""
        pause = SHORTEST_PAUSE
        while True:
            before = self._position
            try:
                await self._follow()
            except StoreUnavailable as error:
                self._lost(str(error))
            if self._position != before:
                pause = SHORTEST_PAUSE
            await asyncio.sleep(pause)
            # decorrelated jitter: many gateways shall not come back at once
            pause = min(random.uniform(SHORTEST_PAUSE, 3 * pause), LONGEST_PAUSE)  # noqa: S311 - no secret

    async def _follow(self) -> None:
        """Follow until the subscription ends, or is silent for too long."""
        if self._position is None:
            self._position = await self._connection.read(self._head)
            self._recent.skip_to(self._position)
        subscription, understand = await self._connection.open_subscription(self._subscribe)
        self._found()
        self._recent.fed = True
        try:
            while True:
                async with asyncio.timeout(self._silence):
                    # cutting this off ends the subscription, whatever the client makes of it
                    item = await uncut(anext(subscription, None))
                if item is None:
                    return
                self._take(item)
        except TimeoutError:
            return
        except Exception as error:
            raise understand(error) from error
        finally:
            self._recent.fed = False
            await subscription.stop()

    async def _head(self, client: Any) -> int:  # noqa: ANN401 - the client has no common type
        head: int = await client.get_commit_position(
            filter_include=self._names.pattern, filter_by_stream_name=True, timeout=self._connection.deadline
        )
        return head

    async def _subscribe(self, client: Any) -> Any:  # noqa: ANN401 - the client has no common type
        return await client.subscribe_to_all(
            commit_position=self._position,
            filter_include=self._names.pattern,
            filter_by_stream_name=True,
            include_checkpoints=True,
            include_caught_up=True,
        )

    def _take(self, item: Any) -> None:  # noqa: ANN401 - the client has no common type
        if isinstance(item, esdb_client.CaughtUp):
            return
        position: int = item.commit_position
        is_ours = not isinstance(item, esdb_client.Checkpoint) and self._names.is_ours(item.stream_name)
        # after a new subscription the server may repeat what it sent before
        newest = self._arrived[-1].position if self._arrived else self._recent.head
        if is_ours and position > newest:
            self._arrived.append(from_store(item, self._names))
            self._hand_over_soon()
        self._position = max(position, self._position or 0)

    def _hand_over_soon(self) -> None:
        if self._handing_over is None:
            loop = asyncio.get_running_loop()
            due = self._handed_over + TOGETHER
            if loop.time() >= due:
                self._hand_over()
            else:
                self._handing_over = loop.call_at(due, self._hand_over)

    def _hand_over(self) -> None:
        self._handing_over, self._handed_over = None, asyncio.get_running_loop().time()
        self._recent.add(self._arrived, after=self._recent.head)
        self._arrived = []

    def _found(self) -> None:
        if not self.connected:
            log.info("event_store_followed", position=self._position)
        self.connected, self._told = True, ""

    def _lost(self, reason: str) -> None:
        if self.connected or self._told != reason:
            log.warning("event_store_not_followed", reason=reason)
        self.connected, self._told = False, reason
