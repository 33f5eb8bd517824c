from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import orjson
import pytest

from gateway.codec import EventCodec, StateCodec, UnknownEvent, outcome_of, read_metadata
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Decider, Document, Event
from gateway.domain.device import DEVICE
from gateway.domain.device_events import AlarmAcknowledged, ConfigurationRequested, DeviceRegistered
from gateway.ids import event_id
from gateway.messages import RecordedEvent, Request
from tests.support.requests import NOW, REQUEST

CODEC = EventCodec(Catalogue([DEVICE]))


def recorded(codec: EventCodec, event: Event, request: Request = REQUEST, revision: int = 0) -> RecordedEvent:
    [new] = codec.encode([event], request, "gw1")
    return RecordedEvent(revision + 1, "device-p", revision, NOW, new.id, new.type, new.data, new.metadata)


def test_an_event_comes_back_as_it_was() -> None:
    event = ConfigurationRequested(
        at=NOW, configuration=3, properties={"rpm": 900, "mode": None, "deep": {"a": [1, None]}}
    )
    assert CODEC.decode(recorded(CODEC, event)) == event


def test_what_is_at_its_default_is_not_written() -> None:
    written = recorded(CODEC, DeviceRegistered(at=NOW, model="T"))
    assert orjson.loads(written.data) == {"at": "2026-03-01T12:00:00Z", "model": "T"}


def test_the_metadata_tell_who_asked_for_it_and_when() -> None:
    request = replace(REQUEST, digest=b"\1" * 16, correlation_id="job-9", issued_at=NOW, traceparent="00-x")
    assert read_metadata(recorded(CODEC, DeviceRegistered(at=NOW, model="T"), request)) == {
        "command_id": "c-1",
        "command": "configure",
        "command_digest": "01" * 16,
        "actor": "alice",
        "gateway": "gw1",
        "received_at": "2026-03-01T12:00:00+00:00",
        "issued_at": "2026-03-01T12:00:00+00:00",
        "$correlationId": "job-9",
        "$causationId": "c-1",
        "traceparent": "00-x",
        "v": 1,
    }


def test_the_first_event_has_the_commands_key_and_each_other_an_id_of_its_own() -> None:
    request = replace(REQUEST, key=event_id("alice", "pump-7", "c-1", 0))
    event = DeviceRegistered(at=NOW, model="T")
    first, second = CODEC.encode([event, event], request, "gw1")
    assert first.id == request.key
    assert second.id == event_id("alice", "pump-7", "c-1", 1)


def test_an_unknown_type_is_no_exception() -> None:
    foreign = replace(recorded(CODEC, DeviceRegistered(at=NOW, model="T")), type="FromTheFuture")
    assert CODEC.decode(foreign) == UnknownEvent("FromTheFuture", "unknown event type")


@pytest.mark.parametrize(
    ("data", "metadata"),
    [
        (b"{}", b'{"v":1}'),
        (b"?", b'{"v":1}'),
        (b'{"at":"2026-03-01T12:00:00Z","model":7}', b'{"v":1}'),
        (b'{"at":"2026-03-01T12:00:00Z","model":"T"}', b"{}"),
        (b'{"at":"2026-03-01T12:00:00Z","model":"T"}', b"?"),
        (b'{"at":"2026-03-01T12:00:00Z","model":"T"}', b"[]"),
        (b'{"at":"2026-03-01T12:00:00Z","model":"T"}', b'{"v":2}'),
        (b'{"at":"2026-03-01T12:00:00Z","model":"T"}', b'{"v":0}'),
        (b'{"at":"2026-03-01T12:00:00Z","model":"T"}', b'{"v":"1"}'),
    ],
)
def test_an_unreadable_event_is_no_exception_either(data: bytes, metadata: bytes) -> None:
    event = replace(recorded(CODEC, DeviceRegistered(at=NOW, model="T")), data=data, metadata=metadata)
    assert isinstance(CODEC.decode(event), UnknownEvent)


def test_an_event_that_the_decider_cannot_bear_leaves_the_state_and_says_why() -> None:
    orphan = recorded(CODEC, AlarmAcknowledged(at=NOW, code="hot", by="alice"))
    state, problem = CODEC.apply(DEVICE, DEVICE.initial, orphan)
    assert state == DEVICE.initial
    assert problem is not None
    assert "AlarmAcknowledged" in problem


class Counted(Event):
    """Written as version 1 with "n", as version 2 with "number", and now with a unit, too."""

    version: ClassVar = 3
    number: int
    unit: str


def test_an_old_event_passes_through_its_upcasters_one_version_after_the_other() -> None:
    def rename(data: Document) -> Document:
        return {"at": data["at"], "number": data["n"]}

    def add_unit(data: Document) -> Document:
        return {**data, "unit": "rpm"}

    decider: Decider[None] = replace(DEVICE, events=(Counted,), commands=())  # type: ignore[assignment]
    codec = EventCodec(Catalogue([decider]), {("Counted", 1): rename, ("Counted", 2): add_unit})
    old = recorded(codec, Counted(at=NOW, number=7, unit="rpm"))
    old = replace(old, data=b'{"at":"2026-03-01T12:00:00Z","n":7}', metadata=b'{"v":1}')
    assert codec.decode(old) == Counted(at=NOW, number=7, unit="rpm")


def test_the_outcome_of_an_accepted_command_is_rebuilt_from_its_events() -> None:
    first = recorded(CODEC, DeviceRegistered(at=NOW, model="T"))
    later = replace(first, revision=4, position=9, recorded_at=datetime(2026, 4, 1, tzinfo=UTC))
    assert outcome_of([first]).code == 201
    outcome = outcome_of([replace(first, revision=3, position=8), later])
    assert (outcome.code, outcome.revision, outcome.position) == (200, 4, 9)
    assert (outcome.digest, outcome.received_at) == (REQUEST.digest, NOW)
    assert outcome.persisted_at == later.recorded_at
    assert [event.revision for event in outcome.events] == [3, 4]


def test_a_state_codec_is_built_once() -> None:
    assert StateCodec.of(DEVICE) is StateCodec.of(DEVICE)
