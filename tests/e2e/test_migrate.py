"""The log moves from one store to the other and back, and nothing is forgotten."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.event_log import read_log
from tests.support.eventstoredb_process import EventStoreProcess
from tests.support.gateway_process import GatewayProcess
from tests.support.technician import technician

pytestmark = pytest.mark.embedded


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    one = Broker(tmp_path / "broker")
    try:
        one.start()
        yield one
    finally:
        one.stop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStoreProcess]:
    one = EventStoreProcess(tmp_path / "store")
    try:
        yield one.start()
    finally:
        one.close()


@pytest.fixture
def embedded(tmp_path: Path, broker: Broker) -> Iterator[GatewayProcess]:
    one = GatewayProcess(tmp_path / "gateway", broker.port)
    try:
        yield one
    finally:
        one.close()


async def test_a_gateway_that_moved_remembers_every_command_and_goes_on(
    tmp_path: Path, broker: Broker, store: EventStoreProcess, embedded: GatewayProcess
) -> None:
    embedded.start()
    async with technician(broker.port) as tech:
        first = await tech.send("p", "p", "register", {"model": "T-1000"}, id="r")
        for number in range(20):
            await tech.send("p", "p", "report", {"properties": {"count": number}}, id=f"c{number}")
        assert embedded.terminate() == 0
        moved = await asyncio.to_thread(embedded.run, "migrate", "--from", "embedded", "--to", store.url)
        assert moved.returncode == 0, moved.stderr
        assert "21 events are the same" in moved.stderr
        # the same state directory, but another store
        elsewhere = GatewayProcess(tmp_path / "gateway", broker.port, {"event_store": {"url": store.url}})
        elsewhere.epoch = embedded.epoch
        try:
            elsewhere.start()
            copy = await tech.send("p", "p", "register", {"model": "T-1000"}, id="r")
            newer = await tech.send("p", "p", "report", {"properties": {"count": 20}}, id="c20")
            assert elsewhere.terminate() == 0
        finally:
            elsewhere.close()
    assert (copy["code"], copy["duplicate"], copy["persisted_at"]) == (201, True, first["persisted_at"])
    assert (newer["code"], newer["revision"]) == (200, 21)
    # a log of its own begins where there is none
    embedded.database.unlink()
    back = GatewayProcess(tmp_path / "gateway", broker.port)
    ran = await asyncio.to_thread(back.run, "migrate", "--from", store.url, "--to", "embedded")
    assert ran.returncode == 0, ran.stderr
    assert [event.metadata["command_id"] for event in read_log(back.database)] == ["r", *(f"c{n}" for n in range(21))]


@pytest.mark.parametrize(
    ("stores", "status", "told"),
    [
        (("embedded", "embedded"), 78, "are the same store"),
        (("embedded", "postgres://x"), 78, "must be empty, or such as esdb://"),
        (("embedded", "esdb://127.0.0.1:1?Tls=false"), 69, "ServiceUnavailable"),
    ],
)
def test_what_cannot_be_migrated_is_told(
    embedded: GatewayProcess, stores: tuple[str, str], status: int, told: str
) -> None:
    ran = embedded.run("migrate", "--from", stores[0], "--to", stores[1])
    assert ran.returncode == status
    assert told in ran.stderr


def test_a_gateway_that_runs_is_not_migrated(embedded: GatewayProcess) -> None:
    embedded.start()
    ran = embedded.run("migrate", "--from", "embedded", "--to", "esdb://127.0.0.1:1?Tls=false")
    assert ran.returncode == 78
    assert "in use by the gateway" in ran.stderr
