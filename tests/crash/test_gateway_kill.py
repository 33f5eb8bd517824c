"""The gateway, and a store of its own, are killed again and again under load; nothing is lost, doubled or reordered."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.gateway_process import GatewayProcess
from tests.support.site import Site, site
from tests.support.verdict import assert_kept

KILLS = 22


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as one:
        yield one


@pytest.mark.timeout(180)
async def test_kills_at_any_moment_lose_nothing_and_double_nothing(
    own_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    async with own_site.technician() as tech:
        await asyncio.gather(tech.watch("event/#"), tech.watch("state/#"))
        fleet = Fleet(tech)
        await fleet.register()
        await _kill_under_load(fleet, own_site.gateway)
        summary = await assert_kept(fleet, own_site)
    with capsys.disabled():
        print(f"\n{KILLS} kills, {summary}")  # noqa: T201 - the summary


async def _kill_under_load(fleet: Fleet, gateway: GatewayProcess) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(fleet.send(stop))
        try:
            for _ in range(KILLS):
                await _kill(gateway)
        finally:
            stop.set()


async def _kill(gateway: GatewayProcess) -> None:
    await asyncio.sleep(random.uniform(0, 0.8))
    store = gateway.store.process
    if store is not None and random.randrange(2):
        await asyncio.to_thread(store.kill)
        await asyncio.sleep(random.uniform(0, 0.8))
        await asyncio.to_thread(store.start)
        return
    await asyncio.to_thread(gateway.kill)
    gateway.launch()
    # every third time the next kill finds it starting, or catching up with what this one left
    if random.randrange(3):
        await asyncio.to_thread(gateway.wait_online)
