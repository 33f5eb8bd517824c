import asyncio
import json
from pathlib import Path

import pytest

from tests.support.event_log import read_log
from tests.support.site import Site

pytestmark = pytest.mark.embedded


async def test_a_copy_made_under_load_is_a_whole_gateway_that_goes_on_from_there(
    own_site: Site, device: str, tmp_path: Path
) -> None:
    gateway, copy = own_site.gateway, tmp_path / "copy.db"
    async with own_site.technician() as tech:
        await tech.send(device, device, "register", {"model": "T-1000"}, id="before")
        backup = asyncio.create_task(asyncio.to_thread(gateway.run, "backup", str(copy), "--json"))
        sent = 0
        while not backup.done() or not sent:
            await tech.send(device, device, "report", {"properties": {"count": sent}}, id=f"during-{sent}")
            sent += 1
        told = json.loads((await backup).stdout)
        await tech.send(device, device, "report", {"properties": {"count": -1}}, id="after")
        gateway.terminate()
        log, saved = gateway.logged(), read_log(copy)
        assert saved == log[: told["position"]]
        gateway.database.unlink()
        copy.rename(gateway.database)
        gateway.start()
        # what the copy knows is answered as before; what it does not know is new
        again = await tech.send(device, device, "register", {"model": "T-1000"}, id="before")
        after = await tech.send(device, device, "report", {"properties": {"count": -1}}, id="after")
    assert (again["code"], again["duplicate"], again["revision"]) == (201, True, 0)
    assert (after["code"], after["duplicate"], after["revision"]) == (200, False, len(saved))
    gateway.terminate()
    assert gateway.run("verify").returncode == 0
