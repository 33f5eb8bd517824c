"""A disk that fills up: told as transient, nothing accepted is lost, and it heals when there is room again."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.disk import Disk, mounted, no_room
from tests.support.gateway_process import GatewayProcess
from tests.support.judge import faults
from tests.support.senders import FLEET, Senders
from tests.support.site import Site, site

UNREACHABLE = 69

pytestmark = pytest.mark.embedded

Full = Callable[[], AbstractContextManager[None]]
Fault = Callable[[Disk], AbstractContextManager[None]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "gateway" / "state") as disk:
        yield disk


@pytest.fixture
def full_site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Site, Full]]:
    """A gateway, and what fills its disk up."""
    if request.param == "limited files":
        with site(tmp_path) as one:
            yield one, lambda: no_room(one.gateway)
    else:
        disk: Disk = request.getfixturevalue("small_disk")
        with site(tmp_path) as one:
            yield one, disk.full


@pytest.mark.parametrize("full_site", ["limited files", "small disk"], indirect=True)
async def test_a_disk_that_fills_up_under_load_loses_and_doubles_nothing_and_heals(
    full_site: tuple[Site, Full],
) -> None:
    one, full = full_site
    async with one.technician() as tech:
        senders = Senders(tech)
        async with asyncio.TaskGroup() as group:
            for device in FLEET:
                group.create_task(senders.run(device))
            await senders.until(lambda: senders.settled)
            with full():
                await senders.until(lambda: senders.deferred)
                told = await tech.until("gateway/health", lambda health: not health["event_store"]["available"])
            await senders.until(lambda: senders.settled)
            await tech.until("gateway/health", lambda health: health["event_store"]["available"])
            senders.stop()
        codes = {ack.body["code"] for acks in tech.acks.values() for ack in acks}
        assert faults(senders.sent, senders.final(), one.gateway.logged()) == []
    assert codes == {200, 201, 503}
    assert told["event_store"]["away_since"]
    assert told["event_store"]["reason"]
    assert len(one.gateway.log("event_store_away")) <= len(FLEET), "once, however many commands meet it"
    assert one.gateway.log("event_store_back")


async def test_a_read_cache_that_the_full_disk_did_not_take_is_written_later_or_made_anew(
    tmp_path: Path, small_disk: Disk
) -> None:
    # long enough to fill the disk between an event and the next flush
    with site(tmp_path, {"readmodel": {"flush_interval": 1.0}}) as one:
        gateway = one.gateway
        async with one.technician() as tech:
            await tech.send("pump-1", "pump-1", "register", {"model": "T-1000"})
            await _until(gateway.cache.exists)
            before = gateway.cache.read_bytes()
            await tech.send("pump-1", "pump-1", "report", {"properties": {"rpm": 900}})
            with small_disk.full():
                await _until(lambda: bool(gateway.log("read_cache_not_written")))
                assert gateway.cache.read_bytes() == before, "the older one is whole"
                await asyncio.to_thread(gateway.kill)
                assert not gateway.cache.with_suffix(".new").exists()
        await asyncio.to_thread(gateway.start)
        async with one.technician() as tech:
            await tech.until("state/pump-1", lambda state: state["revision"] == 1)
        assert await asyncio.to_thread(gateway.terminate) == 0
        verified = await asyncio.to_thread(gateway.run, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.parametrize(("fault", "started_before"), [(Disk.full, False), (Disk.full, True), (Disk.read_only, True)])
def test_a_start_on_a_disk_that_takes_nothing_may_be_tried_again_and_says_so(
    tmp_path: Path, small_disk: Disk, fault: Fault, *, started_before: bool
) -> None:
    gateway = GatewayProcess(tmp_path / "gateway", port=1)
    if started_before:
        _run_once(gateway)
    with fault(small_disk):
        refused = gateway.run("run")
    assert refused.returncode == UNREACHABLE
    assert str(gateway.state_dir) in refused.stderr
    assert "the disk is full or read-only" in refused.stderr
    _run_once(gateway)


def _run_once(gateway: GatewayProcess) -> None:
    """Start it without a broker, and stop it."""
    gateway.launch()
    try:
        asyncio.run(_until(lambda: len(gateway.log("gateway_started")) > len(gateway.log("gateway_stopped"))))
        assert gateway.terminate() == 0
    finally:
        gateway.close()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.02)
