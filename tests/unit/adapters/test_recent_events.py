from collections.abc import Sequence
from contextlib import aclosing

from gateway.adapters.page_size import SMALLEST
from gateway.adapters.recent_events import DEFAULT_LIMITS, PAGE, RecentEvents
from gateway.errors import StoreUnavailable
from gateway.messages import NO_STREAM, RecordedEvent
from tests.support.memory_store import MemoryStore
from tests.support.new_events import new_events

COUNT = 2_000


class SlowStore(MemoryStore):
    """Has no time for more than so many events at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.asked: list[int] = []

    async def read_all(self, *, after: int, limit: int = 1_000) -> Sequence[RecordedEvent]:
        self.asked.append(limit)
        if limit > self.most:
            raise StoreUnavailable("no answer within 5 s")
        return await super().read_all(after=after, limit=limit)


async def followed(recent: RecentEvents, store: SlowStore, attempts: int) -> list[int]:
    """The positions that a follower is given who tries again so often from where he is."""
    positions: list[int] = []
    for _ in range(attempts):
        async with aclosing(recent.follow(positions[-1] if positions else 0, store.read_all)) as pages:
            try:
                async for page in pages:
                    positions += [event.position for event in page]
                    if positions[-1] == COUNT:
                        return positions
            except StoreUnavailable:
                continue
    return positions


async def test_a_store_that_is_too_slow_for_a_page_is_asked_for_less_at_a_time() -> None:
    store = SlowStore(SMALLEST)
    await store.append("device-p", NO_STREAM, new_events(COUNT))
    recent = RecentEvents(COUNT, DEFAULT_LIMITS)
    assert await followed(recent, store, attempts=1_000) == list(range(1, COUNT + 1))
    store.most = PAGE
    store.asked.clear()
    assert await followed(recent, store, attempts=1) == list(range(1, COUNT + 1))
    assert store.asked[-1] == PAGE
