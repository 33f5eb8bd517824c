"""Puts a gateway under load, from a process of its own: ``python -m tests.support.load PORT DEVICES COMMANDS``."""

import asyncio
import sys

from tests.support.technician import Technician, technician

UNDER_WAY = 10


async def load(port: int, devices: int, commands: int) -> None:
    """Reports of many devices side by side; ends when the last one is acknowledged.

    Raises:
        AssertionError: one was not accepted.
    """
    async with technician(port) as tech:
        await asyncio.gather(*(_reports(tech, f"pump-{number}", commands) for number in range(devices)))


async def _reports(tech: Technician, device: str, commands: int) -> None:
    await tech.send(device, device, "register", {"model": "T-1000"})
    ids = [f"{device}-{number}" for number in range(commands)]
    for number, command_id in enumerate(ids):
        if number >= UNDER_WAY:
            await tech.final(ids[number - UNDER_WAY])
        body = {"command_id": command_id, "data": {"properties": {"count": number}}}
        await tech.publish(f"cmd/{device}/{device}/report", body)
    acks = [await tech.final(command_id) for command_id in ids]
    assert not (others := [ack for ack in acks if ack["code"] != 200]), others[:3]


if __name__ == "__main__":
    asyncio.run(load(*map(int, sys.argv[1:])))
