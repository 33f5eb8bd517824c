"""Recorded events, made without a store."""

from collections.abc import Iterable
from dataclasses import replace

from gateway.codec import EventCodec
from gateway.domain.decider import Event
from gateway.ids import event_id
from gateway.messages import RecordedEvent
from tests.support.requests import NOW, REQUEST


class History:
    """A log that grows event by event."""

    def __init__(self, codec: EventCodec) -> None:
        self.events: list[RecordedEvent] = []
        self._codec = codec
        self._revisions: dict[str, int] = {}

    def add(self, stream: str, happened: Iterable[Event]) -> list[RecordedEvent]:
        """What was added."""
        added = []
        for event in happened:
            position = len(self.events) + 1
            key = event_id("alice", stream, str(position), 0)
            [new] = self._codec.encode([event], replace(REQUEST, key=key, command_id=str(position)), "gw1")
            revision = self._revisions[stream] = self._revisions.get(stream, -1) + 1
            recorded = RecordedEvent(position, stream, revision, NOW, new.id, new.type, new.data, new.metadata)
            self.events.append(recorded)
            added.append(recorded)
        return added
