"""A site that the tests of a module share, each with a device of its own; and one of a test's own."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.support.broker import Broker
from tests.support.gateway_process import GatewayProcess
from tests.support.site import Site, site
from tests.support.technician import Technician


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as one:
        yield one


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as one:
        yield one


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway that is not there, at a broker that lets Alice speak for herself alone; her password is in a file."""
    passwords, rules = tmp_path / "passwords", tmp_path / "rules"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "alice", "secret"], check=True)
    mine = ("write edge/gw1/cmd", "read edge/gw1/ack", "write edge/gw1/query", "read edge/gw1/answer")
    rules.write_text("".join(f"pattern {one}/%u/#\n" for one in mine))
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "wrong").write_text("guess\n")
    broker = Broker(tmp_path / "broker", {"password_file": str(passwords), "acl_file": str(rules)})
    gateway = GatewayProcess(tmp_path / "gateway", broker.port)
    try:
        broker.start()
        yield gateway
    finally:
        gateway.close()
        broker.stop()


@pytest_asyncio.fixture
async def tech(shared_site: Site) -> AsyncIterator[Technician]:
    async with shared_site.technician() as one:
        yield one


@pytest.fixture
def device() -> str:
    """A device that nobody has heard of."""
    return f"pump-{uuid4().hex[:12]}"


@pytest_asyncio.fixture
async def online(tech: Technician, device: str) -> str:
    """A device that is registered and connected, in the read cache too; it is at revision 1."""
    await tech.send(device, device, "register", {"model": "T-1000"})
    await tech.send(device, device, "connect", wait_for="projected")
    return device
