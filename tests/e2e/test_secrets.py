"""Where the gateway's passwords and the like must never be found."""

import asyncio
from pathlib import Path

from tests.support.production_site import PASSWORD, PATIENCE, production_site


async def test_the_password_for_the_broker_is_in_no_log_no_process_list_no_message_and_no_file_of_the_state(
    tmp_path: Path,
) -> None:
    with production_site(tmp_path, log={"level": "debug"}) as site:
        site.enrol("pump-7")
        async with site.device("pump-7") as device, site.person("alice") as alice:
            await alice.watch("#")
            await device.send("pump-7", "pump-7", "register", {"model": "T-1000"}, wait_for="projected")
            await alice.until("gateway/info")
            await alice.until("gateway/health")
            told = b"\n".join(message.payload for message in alice.received)
        process = Path(f"/proc/{site.gateway.process_id}")
        told += (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        site.broker.stop()
        (site.mosquitto / "edge-gateway.passwd").write_text("")
        site.broker.start()
        async with asyncio.timeout(PATIENCE):
            while not site.gateway.log("link_refused"):
                await asyncio.sleep(0.02)
        site.gateway.terminate()
        files = [tmp_path / "gateway" / "gateway.log", *site.gateway.state_dir.iterdir()]
        assert len(files) > 3
        assert not [path.name for path in files if PASSWORD.encode() in path.read_bytes()]
        assert PASSWORD.encode() not in told
