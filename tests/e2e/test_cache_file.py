"""The read cache is one file that plain TinyDB reads, and that may be thrown away."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tinydb import TinyDB, where

from tests.support.site import Site
from tests.support.technician import Body, Technician

FLEET = [f"pump-{number}" for number in range(5)]


async def _work(tech: Technician) -> dict[str, Body]:
    """A little history; the last acknowledgement of each device."""
    for one in FLEET:
        await tech.send(one, one, "register", {"model": "T-1000"})
        await tech.send(one, one, "report", {"properties": {"rpm": 900}})
    return {one: await tech.send(one, one, "raise-alarm", {"code": "hot", "severity": "info"}) for one in FLEET}


async def test_after_a_shutdown_plain_tinydb_reads_what_was_acknowledged(own_site: Site) -> None:
    async with own_site.technician() as tech:
        last = await _work(tech)
    await asyncio.to_thread(own_site.gateway.terminate)
    with TinyDB(own_site.gateway.cache, access_mode="r") as cache:
        devices = {document["id"]: document for document in cache.table("devices").all()}
        alarms = cache.table("alarms").search(where("device") == "pump-3")
        (checkpoint,) = cache.table("checkpoint").all()
    assert {one: (devices[one]["revision"], devices[one]["position"]) for one in FLEET} == {
        one: (ack["revision"], ack["position"]) for one, ack in last.items()
    }
    assert [(alarm["code"], alarm["severity"]) for alarm in alarms] == [("hot", "info")]
    assert checkpoint["position"] == own_site.gateway.logged()[-1].position


def _delete(cache: Path) -> None:
    cache.unlink()


def _truncate(cache: Path) -> None:
    cache.write_bytes(cache.read_bytes()[:100])


def _empty(cache: Path) -> None:
    cache.write_bytes(b"")


@pytest.mark.parametrize("damage", [_delete, _truncate, _empty])
async def test_a_damaged_cache_is_rebuilt_from_the_log(own_site: Site, damage: Callable[[Path], None]) -> None:
    gateway = own_site.gateway
    async with own_site.technician() as tech:
        await _work(tech)
        before = {one: await tech.until(f"state/{one}", lambda state: state["revision"] == 2) for one in FLEET}
    await _until(gateway.cache.exists)
    await asyncio.to_thread(gateway.kill)
    damage(gateway.cache)
    await asyncio.to_thread(gateway.start)
    async with own_site.technician() as tech:
        ack = await tech.send("pump-0", "pump-0", "report", {"properties": {"rpm": 901}}, wait_for="projected")
        assert ack["revision"] == 3
        assert await tech.until("state/pump-0", lambda state: state["revision"] == 3)
        assert {one: await tech.until(f"state/{one}") for one in FLEET[1:]} == {one: before[one] for one in FLEET[1:]}
    await asyncio.to_thread(gateway.terminate)
    verified = await asyncio.to_thread(gateway.run, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.02)
