from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.tinydb_cache import ReadCache
from gateway.codec import EventCodec
from gateway.domain import device_events as events
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Decider, Event
from gateway.domain.device import DEVICE
from gateway.domain.device_state import DeviceState
from gateway.messages import Aggregate
from gateway.projection import COUNTS, AtHand, Projection
from tests.support.counter_decider import COUNTER, Counted
from tests.support.histories import History
from tests.support.requests import NOW

CATALOGUE = Catalogue([DEVICE, COUNTER])
CODEC = EventCodec(CATALOGUE)
REGISTERED = events.DeviceRegistered(at=NOW, model="T")
CONNECTED = events.DeviceConnected(at=NOW)
DISCONNECTED = events.DeviceDisconnected(at=NOW)
REPORTED = events.PropertiesReported(at=NOW, properties={"rpm": 900})
HOT = events.AlarmRaised(at=NOW, code="hot", severity="critical")
WET = events.AlarmRaised(at=NOW, code="wet", severity="info")
NOT_HOT = events.AlarmCleared(at=NOW, code="hot")
DECOMMISSIONED = events.DeviceDecommissioned(at=NOW, reason="old")


class Bench:
    """Each call of ``happen`` is a batch of its own."""

    def __init__(self, directory: Path, capacity: int, at_hand: AtHand = lambda _stream, _revision: None) -> None:
        self.history = History(CODEC)
        self.cache = ReadCache(directory / "readmodel.json", "log")
        self.projection = Projection(self.cache, CATALOGUE, CODEC, capacity=capacity, at_hand=at_hand)

    def happen(self, stream: str, *happened: Event) -> list[tuple[str, str]]:
        touched = self.projection.apply(self.history.add(stream, happened))
        return [(decider.category, device) for decider, device in touched]

    def document(self, device: str, collection: str = "devices") -> dict[str, Any]:
        document = self.cache.get(collection, device)
        assert document is not None
        return document

    def keys(self, table: str) -> set[str]:
        return {str(document["id"]) for document in self.cache.documents(table)}

    def counts(self) -> dict[str, Any]:
        return {str(row["id"]): row["count"] for row in self.cache.documents(COUNTS)}


# nothing has to depend on what is still in memory
@pytest.fixture(params=[0, 1, 10_000], ids="capacity {}".format)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(tmp_path, request.param)


async def test_a_document_is_the_state_and_where_in_the_log_it_stands(bench: Bench) -> None:
    bench.happen("device-q", REGISTERED)
    bench.happen("device-p", REGISTERED, CONNECTED)
    bench.happen("device-p", REPORTED)
    document = bench.document("p")
    assert {name: document[name] for name in ("id", "model", "status", "reported")} == {
        "id": "p",
        "model": "T",
        "status": "online",
        "reported": {"rpm": 900},
    }
    assert (document["revision"], document["position"], document["degraded"]) == (2, 4, False)
    assert document["updated_at"] == "2026-03-01T12:00:00Z"


async def test_each_device_that_a_batch_concerns_is_told_once(bench: Bench) -> None:
    assert bench.happen("device-p", REGISTERED, CONNECTED, REPORTED) == [("device", "p")]


async def test_the_position_is_that_of_the_newest_event(bench: Bench) -> None:
    bench.happen("device-p", REGISTERED, CONNECTED)
    assert bench.cache.position == 2
    bench.projection.apply([])
    assert bench.cache.position == 2


async def test_a_foreign_stream_leaves_no_document_and_moves_the_position(bench: Bench) -> None:
    assert bench.happen("billing-7", REGISTERED) == []
    assert bench.happen("device", REGISTERED) == []
    assert (bench.cache.position, bench.cache.tables()) == (2, {})


async def test_active_alarms_are_rows_of_their_own(bench: Bench) -> None:
    bench.happen("device-p", REGISTERED, HOT)
    bench.happen("device-q", REGISTERED, HOT)
    bench.happen("device-p", WET)
    assert bench.keys("alarms") == {"p/hot", "p/wet", "q/hot"}
    row = bench.document("p/hot", "alarms")
    assert (row["device"], row["code"], row["severity"]) == ("p", "hot", "critical")


async def test_an_alarm_that_is_cleared_is_no_row_any_more(bench: Bench) -> None:
    bench.happen("device-p", REGISTERED, HOT, WET)
    bench.happen("device-p", NOT_HOT)
    assert bench.keys("alarms") == {"p/wet"}
    bench.happen("device-p", DECOMMISSIONED)
    assert bench.keys("alarms") == set()


async def test_an_alarm_raised_again_with_other_words_changes_its_row(bench: Bench) -> None:
    bench.happen("device-p", REGISTERED, HOT)
    bench.happen("device-p", HOT.model_copy(update={"severity": "warning"}))
    assert bench.document("p/hot", "alarms")["severity"] == "warning"


async def test_devices_are_counted_by_model_and_status(bench: Bench) -> None:
    bench.happen("device-p", REGISTERED, CONNECTED)
    bench.happen("device-q", REGISTERED)
    bench.happen("device-r", events.DeviceRegistered(at=NOW, model="U"))
    assert bench.counts() == {
        "devices/model/T": 2,
        "devices/model/U": 1,
        "devices/status/online": 1,
        "devices/status/offline": 2,
    }


async def test_a_count_that_falls_to_nothing_goes(bench: Bench) -> None:
    bench.happen("device-p", REGISTERED, CONNECTED)
    bench.happen("device-p", DISCONNECTED)
    assert bench.counts() == {"devices/model/T": 1, "devices/status/offline": 1}


async def test_what_comes_and_goes_within_a_batch_is_not_counted(bench: Bench) -> None:
    bench.happen("device-p", REGISTERED)
    bench.happen("device-p", CONNECTED, DISCONNECTED)
    assert bench.counts() == {"devices/model/T": 1, "devices/status/offline": 1}


async def test_an_unknown_event_degrades_its_device_for_good_and_no_other(bench: Bench) -> None:
    bench.happen("device-p", REGISTERED)
    bench.happen("device-q", REGISTERED)
    [painted] = bench.history.add("device-p", [CONNECTED])
    bench.projection.apply([replace(painted, type="DevicePainted")])
    bench.happen("device-p", CONNECTED)
    bench.happen("device-q", CONNECTED)
    document = bench.document("p")
    assert (document["degraded"], document["revision"], document["status"]) == (True, 2, "online")
    assert bench.document("q")["degraded"] is False


async def test_an_event_that_the_state_cannot_bear_degrades_the_device(bench: Bench) -> None:
    acknowledged = events.AlarmAcknowledged(at=NOW, code="never-raised", by="alice")
    bench.happen("device-p", REGISTERED, acknowledged, CONNECTED)
    document = bench.document("p")
    assert (document["degraded"], document["revision"], document["status"]) == (True, 2, "online")


async def test_another_kind_of_aggregate_works_unchanged(bench: Bench) -> None:
    bench.happen("device-p", REGISTERED)
    assert bench.happen("counter-p", Counted(at=NOW, by=12)) == [("counter", "p")]
    bench.happen("counter-p", Counted(at=NOW, by=5))
    assert bench.document("p", "counters")["total"] == 17
    assert bench.keys("digits") == {"p/1", "p/7"}
    assert bench.counts() == {"devices/model/T": 1, "devices/status/offline": 1, "counters/parity/odd": 1}


async def test_after_clearing_the_same_history_gives_the_same_documents(bench: Bench) -> None:
    bench.happen("device-p", REGISTERED, HOT, REPORTED)
    before = {table: list(documents) for table, documents in bench.cache.tables().items()}
    bench.projection.clear()
    assert (bench.cache.position, bench.cache.tables()) == (0, {})
    bench.projection.apply(bench.history.events)
    assert {table: list(documents) for table, documents in bench.cache.tables().items()} == before


@pytest.mark.parametrize("damage", [{"registered_at": "yesterday"}, {"alarms": None}])
async def test_a_document_that_is_no_state_makes_the_cache_unreadable(bench: Bench, damage: dict[str, Any]) -> None:
    bench.happen("device-p", REGISTERED)
    assert bench.projection.is_readable()
    bench.cache.put("devices", "p", bench.document("p") | damage)
    assert not bench.projection.is_readable()


async def test_a_document_that_lacks_a_field_of_the_cache_makes_it_unreadable(bench: Bench) -> None:
    bench.happen("device-p", REGISTERED)
    document = bench.document("p")
    bench.cache.put("devices", "p", {name: document[name] for name in document if name != "degraded"})
    assert not bench.projection.is_readable()


async def test_a_count_that_is_no_number_makes_the_cache_unreadable(bench: Bench) -> None:
    bench.happen("device-p", REGISTERED)
    bench.cache.put(COUNTS, "devices/model/T", {"id": "devices/model/T"})
    assert not bench.projection.is_readable()


async def test_a_state_that_would_overwrite_what_the_cache_says_is_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Valve:
        position: int = 0

    counter: Decider[Any] = COUNTER
    valve = replace(counter, initial=Valve(), state_type=Valve)
    with pytest.raises(ValueError, match="position"):
        Projection(ReadCache(tmp_path / "readmodel.json", "log"), Catalogue([valve]), CODEC)


async def test_only_so_many_states_are_kept_in_memory(tmp_path: Path) -> None:
    bench = Bench(tmp_path, capacity=2)
    for device in ("a", "b", "a", "c"):
        bench.happen(f"device-{device}", REGISTERED)
    assert list(bench.projection._states) == ["device-a", "device-c"]


def at_hand(aggregate: Aggregate) -> AtHand:
    return lambda stream, revision: aggregate if (stream, revision) == ("device-p", aggregate.revision) else None


@pytest.mark.parametrize(("revision", "model"), [(1, "at hand"), (2, "T")])
async def test_a_state_that_is_at_hand_as_of_the_last_event_is_not_folded_once_more(
    tmp_path: Path, revision: int, model: str
) -> None:
    bench = Bench(tmp_path, 10_000, at_hand(Aggregate(DeviceState(model="at hand"), revision)))
    bench.happen("device-p", REGISTERED, CONNECTED)
    bench.happen("device-q", REGISTERED, CONNECTED)
    assert (bench.document("p")["model"], bench.document("p")["revision"]) == (model, 1)
    assert bench.document("q")["model"] == "T"


async def test_what_is_at_hand_of_a_degraded_device_is_of_no_use(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 10_000, at_hand(Aggregate(DeviceState(model="at hand"), 1, "unreadable")))
    bench.happen("device-p", REGISTERED, CONNECTED)
    assert bench.document("p")["model"] == "T"
