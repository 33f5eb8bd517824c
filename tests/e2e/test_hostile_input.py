"""Every known nastiness through a real broker to a real gateway, which takes no harm."""

import asyncio

from tests.support.hostile import LEVELS, PAYLOADS
from tests.support.process_memory import MEBIBYTE, resident
from tests.support.site import Site
from tests.support.technician import Technician

ROUNDS = 8


async def test_nothing_that_is_sent_stops_the_gateway_or_goes_unanswered(own_site: Site) -> None:
    gateway = own_site.gateway
    async with own_site.technician() as tech:
        await asyncio.gather(tech.watch("deadletter"), tech.watch("gateway/health"))
        await tech.send("pump", "pump", "register", {"model": "T-1000"})
        await _send_everything(tech)
        before = resident(gateway.process_id)
        for _ in range(ROUNDS):
            await _send_everything(tech)
        assert resident(gateway.process_id) - before < 32 * MEBIBYTE
        last = await tech.send("pump", "pump", "report", {"properties": {"still": "alive"}}, wait_for="projected")
        assert last["code"] == 200
        assert (await tech.until("state/pump"))["degraded"] is False
    for fault in ("command_fault", "intake_fault", "gateway_fault"):
        assert gateway.log(fault) == []
    assert await asyncio.to_thread(gateway.terminate) == 0


async def _send_everything(tech: Technician) -> None:
    """Each payload as a report and as a query, and each odd topic; all of them end in an answer or a dead letter."""
    answered = _answered(tech)
    topics = [f"cmd/{level}/pump/report" for level in LEVELS if level and "\x7f" not in level]
    for payload in PAYLOADS.values():
        await tech.publish("cmd/pump/pump/report", payload)
        await tech.publish("query/pump/get", payload)
    for topic in topics:
        await tech.publish(topic, b"{}")
    async with asyncio.timeout(20):
        while _answered(tech) - answered < len(PAYLOADS) + len(topics):
            await asyncio.sleep(0.02)


def _answered(tech: Technician) -> int:
    """How many commands have an acknowledgement, or a dead letter because nobody could be told."""
    acks = sum(map(len, tech.acks.values()))
    letters = [message.body for message in tech.received if message.topic == "deadletter"]
    return acks + len([letter for letter in letters if letter["reason"] == "unreadable-topic"])
