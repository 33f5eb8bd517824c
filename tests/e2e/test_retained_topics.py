"""What a newcomer to the broker is told: retained state and desired configuration."""

import asyncio

from tests.support.site import Site
from tests.support.technician import Body, Technician, retained


async def test_the_state_of_a_device_is_retained_with_its_revision(
    shared_site: Site, tech: Technician, online: str
) -> None:
    ack = await tech.send(online, online, "report", {"properties": {"rpm": 900}})
    await tech.until(f"state/{online}", lambda state: state["revision"] == ack["revision"])
    told = await retained(shared_site.broker.port, f"state/{online}")
    state = told[f"state/{online}"].body
    assert (state["id"], state["model"], state["reported"]) == (online, "T-1000", {"rpm": 900})
    assert (state["revision"], state["position"]) == (ack["revision"], ack["position"])


async def test_desired_and_reported_are_kept_apart(tech: Technician, online: str) -> None:
    await tech.send(online, online, "report", {"properties": {"rpm": 900}})
    await tech.send("alice", online, "configure", {"properties": {"rpm": 1200}})
    state = await tech.until(f"state/{online}", lambda state: state["revision"] == 3)
    assert state["reported"] == {"rpm": 900}
    assert await tech.until(f"config/{online}") == {"version": 1, "properties": {"rpm": 1200}}


async def test_a_device_that_nobody_configured_has_no_configuration(
    shared_site: Site, tech: Technician, online: str
) -> None:
    await tech.until(f"state/{online}", lambda state: state["revision"] == 1)
    assert await retained(shared_site.broker.port, f"config/{online}") == {}


async def test_a_configuration_is_removed_when_every_wish_is_withdrawn(
    shared_site: Site, tech: Technician, online: str
) -> None:
    await tech.send("alice", online, "configure", {"properties": {"rpm": 1200}})
    await tech.until(f"config/{online}")
    await tech.send("alice", online, "configure", {"properties": {"rpm": None}})
    await tech.until(f"config/{online}", _removed)
    assert await retained(shared_site.broker.port, f"config/{online}") == {}


async def test_state_and_configuration_of_a_decommissioned_device_are_removed(
    shared_site: Site, tech: Technician, online: str
) -> None:
    await tech.send("alice", online, "configure", {"properties": {"rpm": 1200}})
    await asyncio.gather(tech.until(f"config/{online}"), tech.until(f"state/{online}"))
    await tech.send("alice", online, "decommission", {"reason": "scrapped"})
    await asyncio.gather(tech.until(f"config/{online}", _removed), tech.until(f"state/{online}", _removed))
    assert await retained(shared_site.broker.port, f"+/{online}") == {}


async def test_a_broker_that_lost_its_retained_messages_is_given_them_again(own_site: Site) -> None:
    fleet = [f"pump-{number}" for number in range(5)]
    async with own_site.technician() as tech:
        for one in fleet:
            await tech.send(one, one, "register", {"model": "T-1000"})
            await tech.send("alice", one, "configure", {"properties": {"rpm": 1200}})
        before = {
            topic: await tech.until(topic, _complete) for one in fleet for topic in (f"state/{one}", f"config/{one}")
        }
    own_site.broker.kill()
    own_site.broker.forget()
    own_site.broker.start()
    async with own_site.technician() as tech:
        assert {topic: await tech.until(topic) for topic in before} == before


def _removed(body: Body) -> bool:
    return not body


def _complete(body: Body) -> bool:
    return body.get("revision") == 1 or body.get("version") == 1
