"""``edge-gateway send`` against a real broker: it tells by its exit status what became of the command."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import Broker
from tests.support.gateway_process import REPOSITORY, GatewayProcess
from tests.support.site import Site, site
from tests.support.technician import technician


def send(gateway: GatewayProcess, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and acknowledgement; an empty object where none was printed."""
    ran = gateway.run("send", "--json", *arguments)
    return ran.returncode, json.loads(ran.stdout or "{}")


def events(gateway: GatewayProcess, device: str) -> list[tuple[str, str]]:
    return [(event.type, event.metadata["command_id"]) for event in gateway.logged() if event.device == device]


@pytest.fixture
def gateway(shared_site: Site) -> GatewayProcess:
    return shared_site.gateway


@pytest.fixture
def known(gateway: GatewayProcess, device: str) -> str:
    assert send(gateway, device, "register", "model=T-1000", "--actor", device)[0] == 0
    return device


def test_an_accepted_command_succeeds_and_its_acknowledgement_is_printed(gateway: GatewayProcess, known: str) -> None:
    status, ack = send(gateway, known, "configure", 'properties={"rpm": 1}', "--actor", "alice", "--id", f"c-{known}")
    assert (status, ack["status"], ack["code"], ack["actor"]) == (0, "accepted", 200, "alice")
    assert events(gateway, known)[1:] == [("ConfigurationRequested", f"c-{known}")]


def test_the_same_id_again_is_answered_the_same_and_has_no_effect(gateway: GatewayProcess, known: str) -> None:
    again = [send(gateway, known, "suspend", "--actor", "alice", "--id", f"c-{known}") for _ in range(2)]
    assert [(status, ack["code"], ack["duplicate"]) for status, ack in again] == [(0, 200, False), (0, 200, True)]
    assert events(gateway, known)[1:] == [("DeviceSuspended", f"c-{known}")]


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("configure", "properties=5", "--actor", "alice"), 65, 422),
        (("fly", "--actor", "alice"), 65, 404),
        (("suspend", "--actor", "alice", "--expected-revision", "7"), 65, 412),
        (("suspend", "--actor", "mallory"), 77, 403),
    ],
)
def test_a_refused_command_fails_with_the_reason(
    gateway: GatewayProcess, known: str, arguments: tuple[str, ...], status: int, code: int
) -> None:
    found, ack = send(gateway, known, *arguments)
    assert (found, ack["code"], ack["status"]) == (status, code, "rejected")


def test_a_dry_run_leaves_nothing_behind(gateway: GatewayProcess, known: str) -> None:
    status, ack = send(gateway, known, "suspend", "--actor", "alice", "--dry-run")
    assert (status, [event["type"] for event in ack["events"]]) == (0, ["DeviceSuspended"])
    assert len(events(gateway, known)) == 1


def test_once_projected_it_is_shown(gateway: GatewayProcess, known: str) -> None:
    assert send(gateway, known, "suspend", "--actor", "alice", "--wait-for", "projected")[0] == 0
    assert json.loads(gateway.run("device", known, "--json").stdout)["status"] == "suspended"


def test_the_flags_lead_to_another_broker_and_root(gateway: GatewayProcess, known: str, shared_site: Site) -> None:
    nowhere = ("--port", "1", "--timeout", "5")
    assert send(gateway, known, "suspend", *nowhere)[0] == 69
    elsewhere = ("--host", "localhost", "--port", str(shared_site.broker.port), "--root", "edge/gw2")
    assert send(gateway, known, "suspend", *elsewhere, "--timeout", "0.5")[0] == 75


def test_a_sender_that_is_too_fast_waits_and_sends_again(tmp_path: Path, device: str) -> None:
    with site(tmp_path, {"limits": {"commands_per_second": 0.5, "burst": 1}}) as slow:
        register = ("send", device, "register", "model=T-1000", "--actor", device)
        with ThreadPoolExecutor() as senders:
            ran = list(senders.map(lambda _: slow.gateway.run(*register), range(2)))
    assert [one.returncode for one in ran] == [0, 0]
    assert sum(one.stderr.startswith("not settled yet: ") for one in ran) == 1


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[tuple[Broker, GatewayProcess]]:
    """A broker that runs, and a gateway that does not."""
    broker = Broker(tmp_path / "broker")
    gateway = GatewayProcess(tmp_path / "gateway", broker.port)
    try:
        broker.start()
        yield broker, gateway
    finally:
        gateway.close()
        broker.stop()


def test_without_an_answer_the_id_is_told_and_sending_it_later_settles_it(
    alone: tuple[Broker, GatewayProcess], device: str
) -> None:
    _, gateway = alone
    register = ("send", device, "register", "model=T-1000", "--actor", device, "--json")
    ran = gateway.run(*register, "--timeout", "1")
    assert (ran.returncode, ran.stdout) == (75, "")
    gateway.start()
    assert gateway.run(*register, "--id", ran.stderr.split()[-1]).returncode == 0
    assert len(events(gateway, device)) == 1


async def test_it_survives_a_broker_that_is_killed_meanwhile(alone: tuple[Broker, GatewayProcess], device: str) -> None:
    broker, gateway = alone
    command = gateway._command("send", device, "register", "model=T-1000", "--actor", device, "--timeout", "30")
    async with technician(broker.port) as tech:
        await tech.watch("cmd/#")
        sender = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        await tech.first(lambda message: message.topic.startswith(f"cmd/{device}/"))
    broker.kill()
    await asyncio.to_thread(broker.start)
    await asyncio.to_thread(gateway.start)
    assert await asyncio.wait_for(sender.wait(), 30) == 0
    assert len(events(gateway, device)) == 1


@pytest.mark.parametrize(
    ("password", "actor", "status"),
    [("password", "alice", 75), ("wrong", "alice", 77), ("password", "bob", 77)],
)
def test_what_the_broker_does_not_allow_is_told_from_what_nobody_answers(
    guarded: GatewayProcess, tmp_path: Path, password: str, actor: str, status: int
) -> None:
    user = ("--username", "alice", "--password-file", str(tmp_path / password), "--actor", actor)
    ran = guarded.run("send", "pump-7", "suspend", *user, "--timeout", "1.5")
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (status, "", 1)
