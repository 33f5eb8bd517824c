"""The subcommands beside a gateway that runs, was killed, or will not start."""

import asyncio
import json
from typing import Any

import pytest

from tests.support.site import Site
from tests.support.technician import Technician


def objects(site: Site, *arguments: str) -> list[dict[str, Any]]:
    ran = site.gateway.run(*arguments, "--json")
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


async def test_a_device_is_shown_as_of_its_newest_event_while_the_gateway_runs(
    shared_site: Site, tech: Technician, online: str
) -> None:
    for rpm in range(5):
        ack = await tech.send(online, online, "report", {"properties": {"rpm": rpm}})
        [shown] = await asyncio.to_thread(objects, shared_site, "device", online)
        assert (shown["revision"], shown["reported"]) == (ack["revision"], {"rpm": rpm})
    assert [event["revision"] for event in await asyncio.to_thread(objects, shared_site, "history", online)] == list(
        range(7)
    )


async def test_what_became_of_a_command_is_told_as_it_was_acknowledged(
    shared_site: Site, tech: Technician, online: str
) -> None:
    accepted = await tech.send("alice", online, "suspend")
    refused = await tech.send("alice", online, "fly")
    for ack in accepted, refused:
        [told] = await asyncio.to_thread(objects, shared_site, "outcome", ack["command_id"])
        assert told == {name: ack[name] for name in told}


async def test_after_a_kill_everything_that_was_acknowledged_is_shown(own_site: Site, device: str) -> None:
    async with own_site.technician() as tech:
        ack = await tech.send(device, device, "register", {"model": "T-1000"})
    await asyncio.to_thread(own_site.gateway.kill)
    [shown] = await asyncio.to_thread(objects, own_site, "devices")
    assert (shown["id"], shown["position"]) == (device, ack["position"])
    assert len(await asyncio.to_thread(objects, own_site, "history", device)) == 1
    assert await asyncio.to_thread(objects, own_site, "outcome", ack["command_id"])


async def test_a_running_gateway_rebuilds_its_cache_when_told_to(own_site: Site, device: str) -> None:
    async with own_site.technician() as tech:
        await tech.send(device, device, "register", {"model": "T-1000"})
        ran = await asyncio.to_thread(own_site.gateway.run, "rebuild")
        assert ran.returncode == 0
        ack = await tech.send(device, device, "connect", wait_for="projected")
        assert ack["code"] == 200
    assert len(own_site.gateway.log("rebuild_started")) == 1
    await asyncio.to_thread(own_site.gateway.terminate)
    verified = await asyncio.to_thread(own_site.gateway.run, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_second_gateway_on_the_same_state_is_refused(shared_site: Site) -> None:
    ran = shared_site.gateway.run("run")
    assert ran.returncode == 78
    assert "in use" in ran.stderr


@pytest.mark.parametrize("line", ["[mqtt]\nport = 0\n", '[domain]\ndeciders = ["nowhere:NOTHING"]\n'])
def test_a_gateway_with_wrong_settings_does_not_start(own_site: Site, line: str) -> None:
    own_site.gateway.terminate()
    own_site.gateway.config.write_text(line)
    ran = own_site.gateway.run("run")
    assert (ran.returncode, ran.stdout) == (78, "")
