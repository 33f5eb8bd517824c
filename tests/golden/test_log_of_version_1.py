"""A log as version 1 wrote it loads for ever: into the same events, folded into the same state."""

import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from gateway.codec import EventCodec, StateCodec
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Event
from gateway.domain.device import DEVICE
from gateway.messages import RecordedEvent

LINES: list[dict[str, Any]] = [
    json.loads(line) for line in Path(__file__).with_name("log_of_version_1.jsonl").read_text().splitlines()
]
STATES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("states_of_version_1.json").read_text())
CODEC = EventCodec(Catalogue(DECIDERS))


def load() -> list[Event]:
    events = []
    for position, line in enumerate(LINES):
        event = CODEC.decode(
            RecordedEvent(
                position=position,
                stream="device-pump-7",
                revision=position,
                recorded_at=datetime(2026, 3, 1, tzinfo=UTC),
                id=UUID(int=position),
                type=line["type"],
                data=json.dumps(line["data"]).encode(),
                metadata=json.dumps(line["metadata"]).encode(),
            )
        )
        assert isinstance(event, Event), event
        events.append(event)
    return events


def test_the_log_folds_to_the_states_that_version_1_had() -> None:
    events, codec = load(), StateCodec.of(DEVICE)
    for known in STATES:
        state = DEVICE.fold(events[: known["after"]])
        assert codec.to_document(state) == known["state"], f"after {known['after']} events"


def test_nothing_that_the_log_holds_is_lost_by_loading_it() -> None:
    assert [event.model_dump(mode="json") for event in load()] == [line["data"] for line in LINES]


def test_the_log_covers_every_event_type_with_every_field() -> None:
    covered: dict[str, set[str]] = defaultdict(set)
    for line in LINES:
        covered[line["type"]] |= {name for name, value in line["data"].items() if value not in (None, {})}
    assert covered == {event.__name__: set(event.model_fields) for event in DEVICE.events}
