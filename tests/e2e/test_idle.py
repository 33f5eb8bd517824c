"""Who has nothing to do writes nothing: a memory card does not wear out because of a gateway that waits."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from tests.support.gateway_process import GatewayProcess, Sections
from tests.support.site import site
from tests.support.technician import PATIENCE, Technician

TURNS = 15
"""Health messages in each of which whatever is done now and then comes round at least once."""


def settings(sign_of_life: float) -> Sections:
    return {
        "outages": {"sign_of_life": sign_of_life, "settle": 0.05},
        "readmodel": {"flush_interval": 0.05},
        "health": {"interval": 0.1},
    }


def written(gateway: GatewayProcess) -> tuple[int, dict[str, int]]:
    """What it has written in all, its log among it, and when each of its files was last written."""
    counters = dict(line.split(": ") for line in Path(f"/proc/{gateway.process_id}/io").read_text().splitlines())
    return int(counters["write_bytes"]), {path.name: path.stat().st_mtime_ns for path in gateway.state_dir.iterdir()}


async def written_in_a_while(gateway: GatewayProcess, tech: Technician) -> bool:
    before = written(gateway)
    for _ in range(TURNS):
        await tech.next_live("gateway/health")
    return written(gateway) != before


async def test_an_idle_gateway_writes_nothing_and_a_crash_of_it_is_dated_from_what_was_written_last(
    tmp_path: Path,
) -> None:
    with site(tmp_path, settings(sign_of_life=0.0)) as plant:
        async with plant.technician() as tech:
            await tech.send("pump-7", "pump-7", "register", {"model": "T-1000"}, wait_for="projected")
            async with asyncio.timeout(PATIENCE):
                while await written_in_a_while(plant.gateway, tech):
                    pass
            _, times = written(plant.gateway)
            plant.gateway.kill()
            await asyncio.to_thread(plant.gateway.start)
            await tech.until("state/gw1", lambda state: state.get("counts") == {"crash": 1})
        (crash,) = map(json.loads, plant.gateway.run("outages", "--json").stdout.splitlines())
        last = datetime.fromtimestamp(max(times.values()) // 1_000_000 / 1_000, UTC)
        assert abs((datetime.fromisoformat(crash["began_at"]) - last).total_seconds()) < 0.01


async def test_a_sign_of_life_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    with site(tmp_path, settings(sign_of_life=0.05)) as plant:
        async with plant.technician() as tech:
            for _ in range(3):
                assert await written_in_a_while(plant.gateway, tech)
