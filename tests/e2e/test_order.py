"""Commands for one device take effect in the order in which they were sent."""

import asyncio

from tests.support.technician import Technician

DEVICES, COMMANDS = 20, 30


async def test_the_order_of_each_device_holds_under_load(tech: Technician, device: str) -> None:
    fleet = [f"{device}-{number}" for number in range(DEVICES)]
    await asyncio.gather(*(tech.send(one, one, "register", {"model": "T-1000"}) for one in fleet))
    for count in range(COMMANDS):
        # nothing waits for an acknowledgement: the fleet's commands are all under way at once
        bodies = {one: {"command_id": f"{one}-{count}", "data": {"properties": {"count": count}}} for one in fleet}
        await asyncio.gather(*(tech.publish(f"cmd/{one}/{one}/report", body) for one, body in bodies.items()))
    for one in fleet:
        acks = [await tech.final(f"{one}-{count}") for count in range(COMMANDS)]
        assert [(ack["code"], ack["revision"]) for ack in acks] == [(200, count + 1) for count in range(COMMANDS)]


async def test_a_device_that_is_refused_over_and_over_does_not_hold_up_another(tech: Technician, online: str) -> None:
    stubborn = f"{online}-stubborn"
    for count in range(200):
        await tech.publish(f"cmd/{stubborn}/{stubborn}/connect", {"command_id": f"{stubborn}-{count}"})
    assert (await tech.send(online, online, "report", {"properties": {"rpm": 1}}))["code"] == 200
    refused = [(await tech.ack(f"{stubborn}-{count}"))["code"] for count in range(200)]
    assert refused == [404] * 200
