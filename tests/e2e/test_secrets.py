"""Where the gateway's passwords and the like must never be found."""

import asyncio
from base64 import b64encode
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.certificates import make_certificate
from tests.support.eventstoredb_process import EventStoreProcess
from tests.support.gateway_process import GatewayProcess, Sections
from tests.support.production_site import PASSWORD, PATIENCE, production_site
from tests.support.technician import technician


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


@pytest.mark.embedded  # it brings a store of its own
async def test_the_password_for_the_event_store_is_in_no_log_no_process_list_no_message_and_no_file_of_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "event_store_password").write_text(PASSWORD)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    certificate = make_certificate(tmp_path / "certificate")
    known = ("--cert", str(certificate.public), "--key", str(certificate.key), "--user", "edge", "--password")
    store = EventStoreProcess(tmp_path / "store", *known, PASSWORD).start()
    changed = EventStoreProcess(tmp_path / "store", *known, "another")
    changed.port = store.port
    broker = Broker(tmp_path / "broker")
    broker.start()
    url, of_store = f"esdb://127.0.0.1:{store.port}", {"username": "edge", "ca_file": str(certificate.public)}
    sections: Sections = {"event_store": {"url": url, "patience": 0.5, **of_store}, "log": {"level": "debug"}}
    gateway = GatewayProcess(tmp_path / "gateway", broker.port, sections)
    try:
        gateway.start()
        async with technician(broker.port) as tech:
            await tech.watch("#")
            assert (await tech.send("pump-7", "pump-7", "register", {"model": "T-1000"}))["code"] == 201
            store.terminate()
            changed.start()
            await tech.publish("cmd/pump-7/pump-7/connect", {"command_id": "c-1"})
            assert (await tech.ack("c-1"))["code"] == 202
            await tech.until("gateway/health", lambda health: not health["event_store"]["available"])
            told = b"\n".join(message.payload for message in tech.received)
        process = Path(f"/proc/{gateway.process_id}")
        told += (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        for command in (("check-config", "--show"), ("doctor",)):
            ran = gateway.run(*command)
            told += (ran.stdout + ran.stderr).encode()
        gateway.terminate()
        files = [tmp_path / "gateway" / "gateway.log", *gateway.state_dir.iterdir()]
        assert len(files) > 3
        # as it is, and as it goes over the line
        for secret in (PASSWORD.encode(), b64encode(f"edge:{PASSWORD}".encode())):
            assert not [path.name for path in files if secret in path.read_bytes()]
            assert secret not in told
    finally:
        gateway.close()
        broker.stop()
        store.close()
        changed.close()
