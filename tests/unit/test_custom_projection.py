from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.tinydb_cache import ReadCache
from gateway.codec import EventCodec
from gateway.custom_projection import MAX_DOCUMENT, PROJECTIONS, CustomProjection, ProjectedEvent, custom_figures
from gateway.domain import device_events as events
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Document, Event
from gateway.domain.device import DEVICE
from gateway.projection import Projection
from tests.support.histories import History
from tests.support.requests import NOW, REQUEST

CATALOGUE = Catalogue([DEVICE])
CODEC = EventCodec(CATALOGUE)
REGISTERED = events.DeviceRegistered(at=NOW, model="T")
CONNECTED = events.DeviceConnected(at=NOW)
DISCONNECTED = events.DeviceDisconnected(at=NOW)
DECOMMISSIONED = events.DeviceDecommissioned(at=NOW, reason="old")


def count(document: Document | None, told: ProjectedEvent) -> Document | None:
    if isinstance(told.event, events.DeviceDecommissioned):
        return None
    so_far: Any = (document or {}).get("events", 0)
    return {"events": so_far + 1, "newest": told.event.at, "revision": told.revision, "position": told.position}


COUNT = CustomProjection("count", 1, count)


def broken(on: type[Event], how: Callable[[], Any]) -> CustomProjection:
    """Counts, until there is an event of this kind."""

    def project(document: Document | None, told: ProjectedEvent) -> Document | None:
        return how() if isinstance(told.event, on) else count(document, told)

    return CustomProjection("broken", 1, project)


class Bench:
    """Each call of ``happen`` is a batch of its own."""

    def __init__(self, directory: Path, *custom: CustomProjection) -> None:
        self.history = History(CODEC)
        self.cache = ReadCache(directory / "readmodel.json", "log")
        self.projection = self.over(*custom)

    def over(self, *custom: CustomProjection) -> Projection:
        return Projection(self.cache, CATALOGUE, CODEC, custom=custom)

    def happen(self, stream: str, *happened: Event) -> None:
        self.projection.apply(self.history.add(stream, happened))

    def documents(self, name: str = "count") -> dict[str, Document]:
        return {str(document["id"]): document for document in self.cache.documents(f"projection:{name}")}


async def test_each_device_has_a_document_of_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, COUNT)
    bench.happen("device-p", REGISTERED, CONNECTED)
    bench.happen("device-q", REGISTERED)
    bench.happen("device-p", DISCONNECTED)
    time = NOW.isoformat()
    assert bench.documents() == {
        "p": {"events": 3, "newest": time, "revision": 2, "position": 4, "id": "p"},
        "q": {"events": 1, "newest": time, "revision": 0, "position": 3, "id": "q"},
    }


async def test_a_document_is_removed_where_the_function_says_that_there_is_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path, COUNT)
    bench.happen("device-p", REGISTERED)
    bench.happen("device-p", DECOMMISSIONED)
    assert bench.documents() == {}
    bench.happen("device-p", CONNECTED)
    assert bench.documents()["p"]["events"] == 1


async def test_the_same_events_give_the_same_documents_however_they_are_batched(tmp_path: Path) -> None:
    def remember(document: Document | None, told: ProjectedEvent) -> Document | None:
        seen: Any = (document or {"seen": []})["seen"]
        seen.append((told.device, type(seen[-1]).__name__ if seen else ""))  # a tuple, and the same list again
        return {"seen": seen, "at": told.event.at, "was_text": isinstance((document or {}).get("at"), str)}

    one, other = (Bench(tmp_path, CustomProjection("count", 1, remember)) for _ in range(2))
    happened = [REGISTERED, CONNECTED, DISCONNECTED, CONNECTED]
    one.happen("device-p", *happened)
    for event in happened:
        other.happen("device-p", event)
    assert one.documents() == other.documents()
    assert one.documents()["p"]["seen"] == [["p", ""], *[["p", "list"]] * 3]


async def test_a_document_has_the_id_of_its_device_whatever_the_function_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path, CustomProjection("count", 1, lambda _document, _told: {"id": "q"}))
    bench.happen("device-p", REGISTERED)
    assert bench.documents() == {"p": {"id": "p"}}


async def test_what_a_function_does_to_a_document_that_it_was_given_changes_nothing(tmp_path: Path) -> None:
    def vandal(document: Document | None, told: ProjectedEvent) -> Document | None:
        if document is not None and isinstance(told.event, events.DeviceConnected):
            document.clear()
            raise ValueError
        return {"kept": [told.revision]}

    bench = Bench(tmp_path, COUNT, CustomProjection("vandal", 1, vandal))
    bench.happen("device-p", REGISTERED)
    given = bench.documents("vandal")["p"]
    bench.happen("device-p", CONNECTED)
    assert given == {"kept": [0], "id": "p"}


async def test_events_that_cannot_be_read_and_foreign_streams_are_passed_over(tmp_path: Path) -> None:
    bench = Bench(tmp_path, COUNT)
    bench.happen("device-p", REGISTERED)
    [painted] = bench.history.add("device-p", [CONNECTED])
    bench.projection.apply([replace(painted, type="DevicePainted")])
    bench.happen("billing-7", REGISTERED)
    assert [document["events"] for document in bench.documents().values()] == [1]


async def test_a_function_learns_who_caused_an_event(tmp_path: Path) -> None:
    def blame(_document: Document | None, told: ProjectedEvent) -> Document | None:
        return {"by": told.metadata["actor"]}

    bench = Bench(tmp_path, CustomProjection("count", 1, blame))
    bench.happen("device-p", REGISTERED)
    assert bench.documents()["p"]["by"] == REQUEST.actor


def _raise() -> Any:
    raise LookupError("what is that?")


def _loop() -> Any:
    return _loop()


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(_raise, id="raises"),
        pytest.param(_loop, id="never ends"),
        pytest.param(lambda: 7, id="gives a number"),
        pytest.param(lambda: {"set": {1}}, id="gives what JSON has not"),
        pytest.param(lambda: {1: "no text"}, id="gives a key that is no text"),
        pytest.param(lambda: {"long": "x" * MAX_DOCUMENT}, id="gives too much"),
    ],
)
async def test_a_projection_that_fails_is_marked_and_concerns_nobody_else(
    tmp_path: Path, how: Callable[[], Any]
) -> None:
    bench = Bench(tmp_path, broken(events.DeviceConnected, how), COUNT)
    bench.happen("device-q", REGISTERED)
    bench.happen("device-p", REGISTERED, CONNECTED, DISCONNECTED)
    [failure] = bench.projection.take_failures()
    assert (failure.name, failure.device, failure.position) == ("broken", "p", 3)
    assert custom_figures(bench.cache) == {
        "broken": {"version": 1, "failed": {"position": 3, "error": type(failure.error).__name__}},
        "count": {"version": 1, "failed": None},
    }
    assert bench.documents("broken") == {}
    assert [document["events"] for document in bench.documents().values()] == [1, 3]
    state = bench.cache.get("devices", "p")
    assert state is not None
    assert (state["status"], bench.cache.position) == ("offline", 4)


async def test_a_projection_that_has_failed_is_not_called_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def project(_document: Document | None, told: ProjectedEvent) -> Document | None:
        calls.append(told.position)
        raise LookupError

    bench = Bench(tmp_path, CustomProjection("broken", 1, project))
    bench.happen("device-p", REGISTERED, CONNECTED)
    bench.happen("device-p", DISCONNECTED)
    bench.projection = bench.over(CustomProjection("broken", 1, project))
    bench.happen("device-p", CONNECTED)
    assert calls == [1]
    bench.projection.clear()
    bench.projection.apply(bench.history.events)
    assert calls == [1, 1]


@pytest.mark.parametrize(
    ("then", "current"),
    [
        ([COUNT], True),
        ([replace(COUNT, version=2)], False),
        ([replace(COUNT, name="other")], False),
        ([COUNT, replace(COUNT, name="other")], False),
        ([], False),
    ],
)
async def test_a_cache_is_as_configured_while_it_has_these_projections_in_these_versions(
    tmp_path: Path, then: list[CustomProjection], *, current: bool
) -> None:
    bench = Bench(tmp_path, COUNT)
    assert bench.projection.is_as_configured()
    bench.happen("device-p", REGISTERED)
    later = bench.over(*then)
    assert later.is_as_configured() is current
    later.clear()
    assert later.is_as_configured()


async def test_without_projections_the_cache_has_no_trace_of_them(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.happen("device-p", REGISTERED)
    assert bench.cache.tables().keys() == {"devices", "counts"}
    assert bench.projection.is_as_configured()
    assert PROJECTIONS not in bench.cache.tables()


async def test_no_event_is_read_twice_where_there_are_no_projections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    decode = CODEC.decode

    def counted(recorded: Any) -> Any:
        decoded.append(recorded.position)
        return decode(recorded)

    monkeypatch.setattr(CODEC, "decode", counted)
    Bench(tmp_path).happen("device-p", REGISTERED, CONNECTED)
    assert decoded == [1, 2]


def test_a_projection_has_a_name_that_can_be_asked_for() -> None:
    with pytest.raises(ValueError, match="is no name"):
        CustomProjection("how often?", 1, count)


@pytest.mark.parametrize("wrong", [{"version": "1.0"}, {"project": {}}], ids=str)
def test_a_projection_has_a_number_as_its_version_and_a_function(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="count: version must be a number, and project a function"):
        replace(COUNT, **wrong)
