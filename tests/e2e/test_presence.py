"""What the gateway says of itself: status, info, health."""

import asyncio

from tests.support.site import Site
from tests.support.technician import Technician

STATUS, HEALTH = "gateway/status", "gateway/health"


async def test_the_status_tells_when_the_gateway_leaves_and_comes_back(own_site: Site) -> None:
    async with own_site.technician() as tech:
        first = await tech.until(STATUS, lambda status: status["state"] == "online")
        await asyncio.to_thread(own_site.gateway.terminate)
        left = await tech.until(STATUS, lambda status: status["state"] == "offline")
        await asyncio.to_thread(own_site.gateway.start)
        second = await tech.until(STATUS, lambda status: status["state"] == "online")
    assert left["epoch"] == first["epoch"] < second["epoch"]


async def test_the_will_tells_of_a_gateway_that_was_killed(own_site: Site) -> None:
    async with own_site.technician() as tech:
        online = await tech.until(STATUS, lambda status: status["state"] == "online")
        await asyncio.to_thread(own_site.gateway.kill)
        will = await tech.until(STATUS, lambda status: status["state"] == "offline")
        await asyncio.to_thread(own_site.gateway.start)
        back = await tech.until(STATUS, lambda status: status["state"] == "online")
    assert will["epoch"] == online["epoch"] < back["epoch"]


async def test_the_info_names_every_command_with_its_schema(tech: Technician) -> None:
    info = await tech.until("gateway/info")
    assert {"register", "report", "configure", "decommission"} < set(info["commands"])
    assert len(info["commands"]) == 15
    assert "record-outage" not in info["commands"]  # nobody may send it
    assert info["commands"]["register"]["schema"]["required"] == ["model"]
    assert info["gateway"] == "gw1"
    assert info["codes"]["429"] == {"status": "deferred", "meaning": "this actor sends too fast", "send_again": True}


async def test_health_counts_what_is_accepted_and_refused(tech: Technician, online: str) -> None:
    before = (await tech.next_live(HEALTH))["counters"]
    await tech.send(online, online, "report", {"properties": {"rpm": 1}})
    await tech.send("mallory", online, "suspend")

    def risen(counters: dict[str, int]) -> bool:
        names = ("commands_accepted", "commands_rejected")
        return all(counters.get(name, 0) > before.get(name, 0) for name in names)

    assert await tech.until(HEALTH, lambda health: risen(health["counters"]))


async def test_a_session_that_the_broker_lost_is_reported(own_site: Site) -> None:
    async with own_site.technician() as tech:
        counters = (await tech.until(HEALTH))["counters"]
        assert counters.get("sessions_lost", 0) == 0
    own_site.broker.kill()
    own_site.broker.forget()
    own_site.broker.start()
    async with own_site.technician() as tech:
        assert await tech.until(HEALTH, lambda health: health["counters"].get("sessions_lost") == 1)
    assert len(own_site.gateway.log("session_lost")) == 1


async def test_a_broker_that_keeps_the_session_is_no_loss(own_site: Site) -> None:
    own_site.broker.stop()
    own_site.broker.start()
    async with own_site.technician() as tech:
        health = await tech.until(HEALTH, lambda health: health["counters"]["connections"] == 2)
    assert health["counters"].get("sessions_lost", 0) == 0
