"""A disk that goes read-only, or fails to sync, under load: as after an error that the kernel found.

Remounting will not do it: the kernel refuses while files are open for writing. So the system calls are made to fail.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import REPOSITORY
from tests.support.judge import faults
from tests.support.senders import FLEET, Senders
from tests.support.site import Site, site

SOURCE = REPOSITORY / "tests" / "support" / "faulty_disk.c"
READ_ONLY, NO_SYNC, HEALTHY = "read-only", "sync fails", ""

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def faulty_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes system calls fail."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a disk fail with")
    library = tmp_path_factory.mktemp("library") / "faulty_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


@pytest.fixture
def mode(tmp_path: Path) -> Path:
    """What is written into this file fails from now on."""
    mode = tmp_path / "mode"
    mode.touch()
    return mode


@pytest.fixture
def own_site(tmp_path: Path, faulty_disk: Path, mode: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("LD_PRELOAD", str(faulty_disk))
    monkeypatch.setenv("FAULTY_DISK", str(tmp_path / "gateway" / "state"))
    monkeypatch.setenv("FAULTY_DISK_MODE", str(mode))
    with site(tmp_path, {"event_store": {"patience": 0.3}, "limits": {"disk_reserve": 0}}) as one:
        yield one


@pytest.mark.parametrize("killed", [False, True], ids=["heals", "is killed"])
@pytest.mark.parametrize("fault", [READ_ONLY, NO_SYNC])
async def test_a_disk_that_fails_under_load_loses_and_doubles_nothing_and_heals(
    own_site: Site, mode: Path, fault: str, *, killed: bool
) -> None:
    gateway = own_site.gateway
    async with own_site.technician() as tech:
        senders = Senders(tech)
        async with asyncio.TaskGroup() as group:
            for device in FLEET:
                group.create_task(senders.run(device))
            await senders.until(lambda: senders.settled)
            mode.write_text(fault)
            await senders.until(lambda: senders.deferred)
            told = await tech.until("gateway/health", lambda health: not health["event_store"]["available"])
            if killed:
                await asyncio.to_thread(gateway.kill)
            mode.write_text(HEALTHY)
            if killed:
                await asyncio.to_thread(gateway.start)
            await senders.until(lambda: senders.settled)
            await tech.until("gateway/health", lambda health: health["event_store"]["available"])
            senders.stop()
        assert faults(senders.sent, senders.final(), gateway.logged()) == []
    assert told["event_store"]["reason"]
    assert await asyncio.to_thread(gateway.terminate) == 0
    verified = await asyncio.to_thread(gateway.run, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
