"""Projections of one's own: the example of docs/projections.md, its changes, and one that is broken."""

import asyncio
import csv
import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.asking import ask, ask_all
from tests.support.gateway_process import REPOSITORY, GatewayProcess
from tests.support.site import Site, site
from tests.support.technician import Body, Technician

BROKEN = """
def project(document, told):
    raise LookupError("what is that?")

BROKEN = CustomProjection("broken", version=1, project=project)
"""

Starting = Callable[..., AbstractContextManager[Site]]


def example() -> str:
    """The module that the documentation shows."""
    [code] = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "projections.md").read_text(), re.DOTALL)
    assert isinstance(code, str)
    return code


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module, where the gateway finds it."""
    module = tmp_path / "modules" / "plant" / "starts.py"
    module.parent.mkdir(parents=True)
    module.write_text(example())
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    # of a file that changes within a second Python would take the compiled older one
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return module


@pytest.fixture
def starting(tmp_path: Path, plant: Path) -> Starting:
    """A site whose gateway has projections of these names."""
    assert plant.exists()

    def start(*names: str) -> AbstractContextManager[Site]:
        return site(tmp_path, {"readmodel": {"projections": names, "flush_interval": 0.2}})

    return start


@pytest.fixture
def place(starting: Starting) -> Iterator[Site]:
    with starting("plant.starts:STARTS") as one:
        yield one


@pytest_asyncio.fixture
async def tech(place: Site) -> AsyncIterator[Technician]:
    async with place.technician() as one:
        yield one


async def start(tech: Technician, device: str, times: int) -> int:
    """Let a device connect and go so often; the position in the log."""
    ack: Body = await tech.send(device, device, "register", {"model": "T"})
    for _ in range(times):
        await tech.send(device, device, "connect")
        ack = await tech.send(device, device, "disconnect", {"reason": "maintenance"})
    return int(ack["position"])


def failures(health: Body) -> dict[str, Any]:
    """With which error each projection has failed."""
    return {name: one["failed"] and one["failed"]["error"] for name, one in health["read_cache"]["projections"].items()}


async def test_the_documents_of_the_example_can_be_asked_for(tech: Technician) -> None:
    await start(tech, "pump-1", 1)
    position = await start(tech, "pump-2", 3)
    asked = partial(ask, tech, "alice", projection="starts", min_position=position)
    document = (await asked("get", device="pump-2"))["result"]
    assert (document["id"], document["starts"], document["reasons"]) == ("pump-2", 3, {"maintenance": 3})
    found = (await asked("list", filter={"starts": {"ge": 1}}, sort="-starts"))["result"]
    assert [(one["id"], one["starts"]) for one in found] == [("pump-2", 3), ("pump-1", 1)]
    pages = await ask_all(tech, "alice", "list", projection="starts", limit=1, fields=["starts"])
    assert pages == [{"id": "pump-1", "starts": 1}, {"id": "pump-2", "starts": 3}]


async def test_a_device_sees_its_own_document_and_no_other(tech: Technician) -> None:
    await start(tech, "pump-1", 1)
    position = await start(tech, "pump-2", 1)
    asked = partial(ask, tech, "pump-1", projection="starts", min_position=position)
    assert (await asked("get", device="pump-1"))["result"]["starts"] == 1
    assert (await asked("get", device="pump-2"))["code"] == 403
    assert [one["id"] for one in (await asked("list"))["result"]] == ["pump-1"]


async def test_a_stranger_sees_no_document_and_an_operator_those_of_his_devices(tech: Technician) -> None:
    await start(tech, "pump-1", 1)
    position = await start(tech, "valve-1", 2)
    asked = partial(ask, tech, projection="starts", min_position=position)
    for stranger in ("mallory", "pump-2"):
        assert (await asked(stranger, "list"))["result"] == []
        for device in ("pump-1", "valve-1", stranger):
            answer = await asked(stranger, "get", device=device)
            assert (answer["code"], "result" in answer) == (404 if device == stranger else 403, False)
    assert [(one["id"], one["starts"]) for one in (await asked("olga", "list"))["result"]] == [("valve-1", 2)]
    assert (await asked("olga", "list", filter={"id": "pump-1"}))["result"] == []
    assert (await asked("olga", "get", device="valve-1", fields=["starts"]))["result"]["starts"] == 2
    assert (await asked("olga", "get", device="pump-1"))["code"] == 403


@pytest.mark.parametrize("where", [(), ("--remote", "--actor", "alice")], ids=["here", "remote"])
async def test_the_command_line_shows_them(place: Site, tech: Technician, where: tuple[str, ...]) -> None:
    await start(tech, "pump-1", 0)
    position = await start(tech, "pump-2", 2)
    await ask(tech, "alice", "summary", min_position=position)

    async def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return await asyncio.to_thread(place.gateway.run, *arguments, "--projection", "starts", *where)

    devices = await run("devices", "--csv")
    heading, *rows = csv.reader(devices.stdout.splitlines())
    assert [dict(zip(heading, row, strict=True))["starts"] for row in rows] == ["2"]
    assert json.loads((await run("device", "pump-2", "--json")).stdout)["starts"] == 2
    missing = await run("device", "pump-1")
    assert (missing.returncode, "starts has no document of pump-1" in missing.stderr) == (1, True)


async def test_what_is_not_there_is_refused_with_its_reason(tech: Technician) -> None:
    position = await start(tech, "pump-1", 0)
    asked = partial(ask, tech, "alice", "get", device="pump-1", min_position=position)
    assert (await asked(projection="starts"))["error"]["type"] == "no-document"
    assert (await asked(projection="stops"))["error"]["type"] == "unknown-projection"
    assert (await ask(tech, "alice", "list", projection="stops"))["error"]["type"] == "unknown-projection"


async def test_documents_outlive_a_kill_and_are_what_the_log_says(place: Site, tech: Technician) -> None:
    position = await start(tech, "pump-1", 2)
    place.gateway.kill()
    place.gateway.start()
    answer = await ask(tech, "alice", "get", projection="starts", device="pump-1", min_position=position)
    assert answer["result"]["starts"] == 2
    place.gateway.terminate()
    verified = place.gateway.run("verify")
    assert verified.returncode == 0, verified.stderr


async def test_verify_finds_a_document_that_somebody_has_changed(place: Site, tech: Technician) -> None:
    await start(tech, "pump-1", 2)
    place.gateway.terminate()
    place.gateway.cache.write_text(place.gateway.cache.read_text().replace('"starts":2', '"starts":7'))
    verified = place.gateway.run("verify")
    assert verified.returncode == 1
    assert re.search(r"projection:starts\s+pump-1\s+starts\s+2\s+7", verified.stdout)


async def test_another_version_has_the_documents_made_anew(place: Site, tech: Technician, plant: Path) -> None:
    position = await start(tech, "pump-1", 2)
    place.gateway.terminate()
    twice = example().replace('["starts"] + 1', '["starts"] + 2')
    plant.write_text(twice)
    # the file changed and the version did not: nobody knows
    place.gateway.start()
    asked = partial(ask, tech, "alice", "get", projection="starts", device="pump-1", min_position=position)
    assert (await asked())["result"]["starts"] == 2
    place.gateway.terminate()
    plant.write_text(twice.replace("version=1", "version=2"))
    assert place.gateway.run("verify").stderr.startswith("the read cache cannot be used: it has other projections")
    place.gateway.start()
    assert (await asked())["result"]["starts"] == 4
    state = await ask(tech, "alice", "get", device="pump-1", min_position=position)
    assert state["result"]["status"] == "offline"


async def test_a_broken_projection_is_reported_and_concerns_nobody_else(starting: Starting, plant: Path) -> None:
    plant.write_text(example() + BROKEN)
    with starting("plant.starts:STARTS", "plant.starts:BROKEN") as place:
        async with place.technician() as tech:
            position = await start(tech, "pump-1", 2)
            asked = partial(ask, tech, "alice", "get", device="pump-1", min_position=position)
            assert (await asked(projection="broken"))["error"]["type"] == "projection-failed"
            assert (await asked(projection="starts"))["result"]["starts"] == 2
            health = await tech.until(
                "gateway/health", lambda body: failures(body) == {"starts": None, "broken": "LookupError"}
            )
            assert health["read_cache"]["position"] == position
        assert [line["projection"] for line in place.gateway.log("projection_failed")] == ["broken"]
        place.gateway.terminate()
        verified = place.gateway.run("verify")
        assert verified.returncode == 0, verified.stdout
        # mended, with another version
        plant.write_text(
            example() + BROKEN.replace('raise LookupError("what is that?")', "return {}").replace("=1", "=2")
        )
        place.gateway.start()
        async with place.technician() as tech:
            answer = await ask(tech, "alice", "get", device="pump-1", projection="broken", min_position=position)
            assert answer["result"] == {"id": "pump-1"}


async def test_without_projections_health_says_nothing_of_them(tmp_path: Path) -> None:
    with site(tmp_path) as place:
        async with place.technician() as tech:
            health = await tech.until("gateway/health")
            assert health["read_cache"].keys() == {"position", "lag", "rebuilding"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("plant.stops:STARTS", "readmodel.projections: plant.stops:STARTS cannot be imported: ModuleNotFoundError"),
        ("plant.starts:project", "readmodel.projections: plant.starts:project is no projection"),
    ],
)
def test_a_name_that_is_no_projection_is_an_error_of_the_settings(
    tmp_path: Path, plant: Path, name: str, reason: str
) -> None:
    assert plant.exists()
    gateway = GatewayProcess(tmp_path / "gateway", 1, {"readmodel": {"projections": [name]}})
    with closing(gateway):
        for subcommand in ("check-config", "run"):
            done = gateway.run(subcommand)
            assert done.returncode == 78
            assert reason in done.stderr
