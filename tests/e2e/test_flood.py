"""One device sends as fast as it can while others work."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import site
from tests.support.technician import Technician

FLOOD = 900
POLITE = 10
MODEL = {"model": "T-1000"}


@pytest.mark.parametrize("rate", [0.0, 50.0], ids=["without a limit", "with a limit"])
async def test_a_device_that_floods_gets_all_its_answers_and_costs_another_none(tmp_path: Path, rate: float) -> None:
    with site(tmp_path, {"limits": {"commands_per_second": rate, "burst": 100}}) as plant:
        async with plant.technician() as tech, plant.technician() as other:
            for device in ("loud", "calm"):
                await tech.send(device, device, "register", MODEL)
            flood = asyncio.create_task(_flood(tech))
            await tech.ack("loud-20")
            polite = [await _report(other, "calm", number) for number in range(POLITE)]
            acks = await flood
        logged = await asyncio.to_thread(plant.gateway.logged)
    assert [(ack["code"], ack["revision"]) for ack in polite] == [(200, number + 1) for number in range(POLITE)]
    codes = [ack["code"] for ack in acks]
    assert set(codes) == ({200} if not rate else {200, 429})
    assert all("retry_after_ms" in ack for ack in acks if ack["code"] == 429)
    effects = [event.metadata["command_id"] for event in logged if event.device == "loud"][1:]
    assert effects == [f"loud-{number}" for number, code in enumerate(codes) if code == 200]


async def _flood(tech: Technician) -> list[Any]:
    """As many reports as the line takes; every answer."""
    sending = [
        asyncio.create_task(tech.publish("cmd/loud/loud/report", _body("loud", number))) for number in range(FLOOD)
    ]
    acks = [await tech.final(f"loud-{number}") for number in range(FLOOD)]
    await asyncio.gather(*sending)
    return acks


async def _report(tech: Technician, device: str, number: int) -> Any:
    await tech.publish(f"cmd/{device}/{device}/report", _body(device, number))
    return await tech.final(f"{device}-{number}")


def _body(device: str, number: int) -> dict[str, object]:
    return {"command_id": f"{device}-{number}", "data": {"properties": {"count": number}}}
