from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.adapters.tinydb_cache import ReadCache
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Document
from gateway.domain.outages import GATEWAY
from gateway.errors import Invalid, NotFound
from gateway.queries import answers
from gateway.queries.answers import Result
from gateway.queries.documents import MOST_VALUES, SLICE, DocumentQueries
from gateway.queries.parameters import Alarms, Get, List

COUNT = 2 * SLICE + 7


def everybody(_device: str) -> bool:
    return True


def items(result: Result) -> list[dict[str, Any]]:
    return [orjson.loads(orjson.dumps(item)) for item in result.value]


def ids(result: Result) -> list[str]:
    return [item["id"] for item in items(result)]


@pytest.fixture
def queries(tmp_path: Path) -> DocumentQueries:
    """Pumps with rising speed, of which every third is online, an alarm of the first two, and the gateway."""
    cache = ReadCache(tmp_path / "readmodel.json", "log")
    for number in range(COUNT):
        id_ = f"pump-{number:04}"
        status = "offline" if number % 3 else "online"
        cache.put("devices", id_, {"id": id_, "status": status, "reported": {"rpm": number // 2}})
    for number in range(2):
        row: Document = {"id": f"pump-{number:04}/hot", "device": f"pump-{number:04}", "code": "hot"}
        cache.put("alarms", str(row["id"]), row)
    cache.put("gateways", "gw1", {"id": "gw1"})
    cache.put("counts", "1", {"id": "1", "collection": "devices", "facet": "status", "value": "online", "count": 9})
    return DocumentQueries(cache, Catalogue((*DECIDERS, GATEWAY)), GATEWAY.collection)


async def every_page(queries: DocumentQueries, **parameters: Any) -> list[str]:
    seen: list[str] = []
    while True:
        result = await queries.list(List(**parameters), everybody)
        seen += ids(result)
        if result.next is None:
            return seen
        parameters |= result.next


def test_a_document_is_given_as_it_is(queries: DocumentQueries) -> None:
    assert queries.get(Get(device="pump-0004")).value == {
        "id": "pump-0004",
        "status": "offline",
        "reported": {"rpm": 2},
    }
    assert queries.get(Get(device="gw1")).value == {"id": "gw1"}


def test_an_unknown_device_is_not_found(queries: DocumentQueries) -> None:
    with pytest.raises(NotFound, match="there is no device x"):
        queries.get(Get(device="x"))


@pytest.mark.parametrize("sort", ["id", "-id", "reported.rpm", "-reported.rpm", "status", "-nothing"])
@pytest.mark.parametrize("limit", [7, 50, 500])
async def test_page_by_page_every_device_is_listed_once_in_order(
    queries: DocumentQueries, sort: str, limit: int
) -> None:
    everything = [f"pump-{number:04}" for number in range(COUNT)]
    seen = await every_page(queries, sort=sort, limit=limit)
    assert sorted(seen) == everything
    if sort in {"id", "reported.rpm"}:
        assert seen == everything
    elif sort != "status":
        assert seen == everything[::-1]


async def test_only_what_matches_is_listed(queries: DocumentQueries) -> None:
    found = await every_page(queries, filter={"status": "online", "reported.rpm": {"ge": 3, "lt": 9}})
    assert found == ["pump-0006", "pump-0009", "pump-0012", "pump-0015"]


async def test_only_what_whoever_asks_may_know_is_listed(queries: DocumentQueries) -> None:
    assert ids(await queries.list(List(), lambda device: device == "pump-0003")) == ["pump-0003"]
    assert ids(await queries.alarms(Alarms(), lambda device: device == "pump-0001")) == ["pump-0001/hot"]


async def test_fields_can_be_picked(queries: DocumentQueries) -> None:
    result = await queries.list(List(limit=1, fields=["reported.rpm", "nothing"]), everybody)
    assert items(result) == [{"id": "pump-0000", "reported.rpm": 0}]


async def test_a_page_ends_before_it_is_too_large(queries: DocumentQueries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_BYTES", 300)
    result = await queries.list(List(limit=100), everybody)
    assert 1 < len(ids(result)) < 10
    assert len(await every_page(queries, limit=500)) == COUNT


async def test_an_item_that_is_too_large_is_given_without_its_largest_fields(
    queries: DocumentQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MAX_BYTES", 100)
    queries.cache.put("devices", "pump-0000", {"id": "pump-0000", "status": "online", "reported": {"name": "x" * 200}})
    [item] = items(await queries.list(List(limit=1), everybody))
    assert item == {"id": "pump-0000", "status": "online", "omitted": ["reported"]}
    assert len(await every_page(queries, limit=100)) == COUNT


async def test_some_fields_of_a_document_can_be_had(queries: DocumentQueries) -> None:
    query = Get(device="pump-0004", fields=["reported.rpm", "nothing"])
    assert queries.get(query).value == {"id": "pump-0004", "reported.rpm": 2}


@pytest.mark.parametrize(
    "cursor", ["", "x", "AAAA", "WzEsMl0=", "WzcsMCwiYSJd", "WzIsIngiLCJhIl0=", "WzIsMSwyXQ==", "W1tdLDAsImEiXQ=="]
)
async def test_a_cursor_that_is_none_is_refused(queries: DocumentQueries, cursor: str) -> None:
    with pytest.raises(Invalid, match="no cursor"):
        await queries.list(List(cursor=cursor), everybody)


async def test_alarms_are_listed_by_device(queries: DocumentQueries) -> None:
    assert ids(await queries.alarms(Alarms(), everybody)) == ["pump-0000/hot", "pump-0001/hot"]
    assert ids(await queries.alarms(Alarms(device="pump-0001"), everybody)) == ["pump-0001/hot"]
    assert ids(await queries.alarms(Alarms(filter={"code": "dry"}), everybody)) == []


async def test_the_summary_counts(queries: DocumentQueries) -> None:
    assert (await queries.summary()).value == {"devices": {"status": {"online": 9}}}


async def test_the_summary_tells_the_most_frequent_values_and_how_much_they_leave_out(queries: DocumentQueries) -> None:
    for number in range(5 * MOST_VALUES):
        id_ = f"m{number}"
        row: Document = {"id": id_, "collection": "devices", "facet": "model", "value": id_, "count": 1 + number}
        queries.cache.put("counts", id_, row)
    summary = (await queries.summary()).value
    most = range(4 * MOST_VALUES, 5 * MOST_VALUES)
    assert summary["devices"]["model"] == {f"m{number}": 1 + number for number in most}
    rest = {"values": 4 * MOST_VALUES, "devices": sum(1 + number for number in range(4 * MOST_VALUES))}
    assert summary["omitted"] == {"devices": {"model": rest}}
    assert summary["devices"]["status"] == {"online": 9}
