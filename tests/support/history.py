"""Events in the order in which they happened, as a store gives them."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from gateway.codec import EventCodec
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Event
from gateway.domain.device import DEVICE
from gateway.messages import NewEvent, RecordedEvent
from tests.support.counter_decider import COUNTER
from tests.support.requests import NOW, REQUEST

CATALOGUE = Catalogue([DEVICE, COUNTER])
CODEC = EventCodec(CATALOGUE)


class History:
    def __init__(self) -> None:
        self.events: list[RecordedEvent] = []

    def happen(self, stream: str, *happened: Event) -> Sequence[RecordedEvent]:
        """These events follow in the stream; only they come back."""
        return self.record(stream, *CODEC.encode(happened, REQUEST, "gw1"))

    def record(self, stream: str, *new: NewEvent) -> Sequence[RecordedEvent]:
        for event in new:
            position = len(self.events) + 1
            revision = sum(earlier.stream == stream for earlier in self.events)
            at = NOW + timedelta(seconds=position)
            self.events.append(
                RecordedEvent(
                    position, stream, revision, at, UUID(int=position), event.type, event.data, event.metadata
                )
            )
        return self.events[-len(new) :]
