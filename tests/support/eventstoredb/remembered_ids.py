"""The ids of the newest events, which a server keeps in memory only."""

from collections import OrderedDict
from uuid import UUID


class RememberedIds:
    """First in, first out; an id is known for the stream that it was last committed to."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._places: OrderedDict[UUID, tuple[str, int]] = OrderedDict()

    def add(self, stream: str, id: UUID, revision: int) -> None:
        """Remember one, and forget the oldest beyond the capacity."""
        self._places[id] = (stream, revision)
        while len(self._places) > self._capacity:
            self._places.popitem(last=False)

    def revision(self, stream: str, id: UUID) -> int | None:
        """Where in the stream the event is; ``None`` for one that is not known, or of another stream."""
        place = self._places.get(id)
        return place[1] if place is not None and place[0] == stream else None

    def clear(self) -> None:
        """Forget all of them, as a restart does."""
        self._places.clear()
