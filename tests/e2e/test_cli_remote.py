"""The asking subcommands against a gateway through its broker: the same as of its state directory, and nothing more."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from tests.support.gateway_process import REPOSITORY, GatewayProcess
from tests.support.site import Site, site
from tests.support.technician import Body, Technician

REMOTE = ("--remote", "--actor", "alice")


async def run(plant: Site, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(plant.gateway.run, *arguments)


@pytest.fixture
def elsewhere(shared_site: Site, tmp_path: Path) -> tuple[str, ...]:
    """Options of a machine that knows nothing of the gateway but its broker."""
    config = tmp_path / "empty.toml"
    config.write_text("")
    port = str(shared_site.broker.port)
    return ("--config", str(config), "--host", "127.0.0.1", "--port", port, "--root", "edge/gw1", "--actor", "alice")


async def live(plant: Site, device: str) -> Body:
    """What a device goes through; the acknowledgement of its report."""
    async with plant.technician() as tech:
        await tech.send(device, device, "register", {"model": "T-1000"})
        ack = await tech.send(device, device, "report", {"properties": {"rpm": 1}}, correlation_id=f"of-{device}")
        await tech.send(device, device, "raise-alarm", {"code": "hot", "severity": "critical"}, wait_for="projected")
    return ack


def test_a_remote_gateway_tells_what_its_state_directory_tells(
    shared_site: Site, device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ack = asyncio.run(live(shared_site, device))
    for question in (
        ("devices",),
        ("devices", "--json"),
        ("devices", "--csv"),
        ("device", device),
        ("device", device, "--json"),
        ("history", device),
        ("history", device, "--json", "--after", "0", "--limit", "1"),
        ("state", device, "--at", "1"),
        ("diff", device, "0", "2"),
        ("alarms",),
        ("alarms", device, "--json"),
        ("outcome", ack["command_id"]),
        ("outages", "--json"),
        ("trace", ack["command_id"]),
        ("trace", "--event", ack["events"][0]["id"], "--json"),
        ("trace", "--correlation", f"of-{device}", "--json"),
    ):
        here, there = (
            (main([*question, "--config", str(shared_site.gateway.config), *where]), *capsys.readouterr())
            for where in ((), REMOTE)
        )
        assert here[0] == 0
        assert here == there, question


async def test_nothing_but_the_broker_need_be_known(shared_site: Site, online: str, elsewhere: tuple[str, ...]) -> None:
    command = [*shared_site.gateway._command("device", online, "--json")[:-2], *elsewhere]
    ran = await asyncio.to_thread(subprocess.run, command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)["id"] == online


@pytest.mark.parametrize(
    ("question", "actor", "status"),
    [
        (("device", "nobody"), "alice", 1),
        (("history", "nobody"), "alice", 1),
        (("state", "nobody", "--at", "0"), "alice", 1),
        (("trace", "never-sent"), "alice", 1),
        (("outcome", "never-sent"), "alice", 1),
        (("device", "nobody"), "mallory", 77),
        (("outages",), "mallory", 77),
    ],
)
async def test_an_answer_in_the_negative_is_told_by_the_exit_status(
    shared_site: Site, question: tuple[str, ...], actor: str, status: int
) -> None:
    ran = await run(shared_site, *question, "--actor", actor)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (status, "", 1)


async def test_a_device_sees_itself_alone(shared_site: Site, tech: Technician, online: str) -> None:
    await tech.send(f"{online}-2", f"{online}-2", "register", {"model": "T-1000"}, wait_for="projected")
    ran = await run(shared_site, "devices", "--json", "--actor", online)
    assert [json.loads(line)["id"] for line in ran.stdout.splitlines()] == [online]
    assert (await run(shared_site, "history", f"{online}-2", "--actor", online)).returncode == 77


async def test_more_than_an_answer_holds_is_told_page_by_page(shared_site: Site, tech: Technician, online: str) -> None:
    text = "x" * 3_000
    for number in range(60):
        await tech.send(online, online, "report", {"properties": {"n": number, "text": f"{text}{number}"}})
    ran = await run(shared_site, "history", online, "--json", *REMOTE)
    assert [json.loads(line)["revision"] for line in ran.stdout.splitlines()] == list(range(62))


async def test_whoever_asks_too_fast_waits_and_asks_again(tmp_path: Path, device: str) -> None:
    with site(tmp_path, {"limits": {"commands_per_second": 1.0, "burst": 1}}) as slow:
        async with slow.technician() as tech:
            await tech.send(device, device, "register", {"model": "T-1000"})
        ran = await run(slow, "outages", *REMOTE)
    assert (ran.returncode, ran.stdout.startswith("began at")) == (0, True)


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        (("--port", "1"), 69, "broker cannot be reached"),
        (("--root", "edge/gw9", "--timeout", "0.5"), 75, "no answer from the gateway"),
        (("--port", "99999"), 78, "--port"),
    ],
)
async def test_whom_nobody_answers_is_told_why(
    shared_site: Site, options: tuple[str, ...], status: int, told: str
) -> None:
    ran = await run(shared_site, "devices", *REMOTE, *options)
    assert (ran.returncode, ran.stdout) == (status, "")
    assert told in ran.stderr


async def test_a_question_survives_a_gateway_that_starts_later(tmp_path: Path, device: str) -> None:
    with site(tmp_path) as plant:
        async with plant.technician() as tech:
            await tech.send(device, device, "register", {"model": "T-1000"})
            await asyncio.to_thread(plant.gateway.kill)
            await tech.watch("query/#")
            asking = asyncio.create_task(run(plant, "device", device, "--json", *REMOTE))
            await tech.first(lambda message: message.topic.startswith("query/alice/get"))
            await asyncio.to_thread(plant.gateway.start)
            ran = await asking
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["id"] == device


class Follower:
    """A subcommand that runs on; its lines as they come."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def events(self, count: int) -> list[dict[str, Any]]:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            return [json.loads(await self.process.stdout.readline()) for _ in range(count)]


@asynccontextmanager
async def follow(gateway: GatewayProcess, *arguments: str) -> AsyncIterator[Follower]:
    process = await asyncio.create_subprocess_exec(
        *gateway._command(*arguments, *REMOTE),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Follower(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_history_goes_on_with_what_happens_without_gap_or_repeat(
    shared_site: Site, tech: Technician, online: str
) -> None:
    async with follow(shared_site.gateway, "history", online, "--json", "--follow") as one:
        sending = [tech.send(online, online, "report", {"properties": {"n": number}}) for number in range(20)]
        sent = asyncio.gather(*sending)
        seen = await one.events(12)
        await sent
        seen += await one.events(10)
        assert [event["revision"] for event in seen] == list(range(22))
        await tech.send(online, online, "disconnect")
        assert [event["type"] for event in await one.events(1)] == ["DeviceDisconnected"]
        one.process.send_signal(signal.SIGINT)
        assert await one.process.wait() == 130


async def test_a_history_is_followed_from_a_revision_on_and_up_to_a_number(
    shared_site: Site, tech: Technician, online: str
) -> None:
    options = ("--after", "1", "--limit", "2", "--json", "--follow")
    async with follow(shared_site.gateway, "history", online, *options) as one:
        for number in range(3):
            await tech.send(online, online, "report", {"properties": {"n": number}})
        assert [event["revision"] for event in await one.events(2)] == [2, 3]
        assert await one.process.wait() == 0


async def test_a_history_is_followed_across_restarts_of_broker_and_gateway(own_site: Site, device: str) -> None:
    async with own_site.technician() as tech:
        await tech.send(device, device, "register", {"model": "T-1000"})
    async with follow(own_site.gateway, "history", device, "--json", "--follow") as one:
        assert [event["revision"] for event in await one.events(1)] == [0]
        await asyncio.to_thread(own_site.broker.stop)
        await asyncio.to_thread(own_site.broker.start)
        await asyncio.to_thread(own_site.gateway.kill)
        await asyncio.to_thread(own_site.gateway.start)
        async with own_site.technician() as tech:
            await tech.send(device, device, "connect")
        assert [event["revision"] for event in await one.events(1)] == [1]


@pytest.mark.parametrize(
    ("password", "actor", "status"),
    [("password", "alice", 75), ("wrong", "alice", 77), ("password", "bob", 77)],
)
def test_what_the_broker_does_not_allow_is_told_from_what_nobody_answers(
    guarded: GatewayProcess, tmp_path: Path, password: str, actor: str, status: int
) -> None:
    user = ("--username", "alice", "--password-file", str(tmp_path / password), "--actor", actor)
    ran = guarded.run("devices", *user, "--timeout", "1.5")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (status, "", 1)
