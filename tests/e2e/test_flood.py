"""One device sends as fast as it can while others work."""

import asyncio
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from gateway.settings import LimitSettings
from tests.support.broker import Broker
from tests.support.eventstoredb_process import EventStoreProcess
from tests.support.gateway_process import GatewayProcess
from tests.support.process_memory import MEBIBYTE, resident
from tests.support.site import site
from tests.support.technician import Technician, technician

FLOOD = 900
POLITE = 10
BATCH = 20
MODEL = {"model": "T-1000"}
WINDOW = 100
MEASURED = 30
BURST = 100
LONGER = 20
AT_ONCE = 2.0
"""Seconds; where waiting takes less than a moment, so many times as long says nothing."""


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


@pytest.mark.embedded
async def test_no_command_is_overtaken_by_more_of_a_flood_than_a_batch_or_two(tmp_path: Path) -> None:
    with site(tmp_path, {"limits": {"commands_per_second": 0.0, "batch": BATCH}}) as plant:
        async with plant.technician() as tech:
            for device in ("loud", "calm"):
                await tech.send(device, device, "register", MODEL)
            tech.acks.clear()
            sent = [
                (device, number)
                for number in range(FLOOD)
                for device in (["loud", "calm"] if number % 100 == 50 else ["loud"])
            ]
            await asyncio.gather(*(_publish(tech, device, number) for device, number in sent))
            async with asyncio.timeout(30):
                while len(tech.acks) < len(sent):
                    await asyncio.sleep(0.02)
            # a dictionary tells its keys in the order in which they came
            answered = {command_id: place for place, command_id in enumerate(tech.acks)}
    overtaken = [
        sum(answered[f"{other}-{later}"] < answered[f"{device}-{number}"] for other, later in sent[place + 1 :])
        for place, (device, number) in enumerate(sent)
        if device == "calm"
    ]
    assert len(overtaken) == FLOOD // 100
    assert max(overtaken) <= 2 * BATCH


async def test_under_the_default_limit_a_flood_makes_another_device_wait_a_little_at_most(tmp_path: Path) -> None:
    limits = {"commands_per_second": LimitSettings().commands_per_second, "burst": BURST}
    with site(tmp_path, {"limits": limits}) as plant:
        async with plant.technician() as tech, plant.technician() as other:
            for device in ("loud", "calm"):
                await tech.send(device, device, "register", MODEL)
            alone = [await _waited(other, number) for number in range(MEASURED)]
            turned_away, stop = asyncio.Event(), asyncio.Event()
            flood = asyncio.create_task(_flood_on(tech, turned_away, stop))
            # before that it may do what it likes
            await turned_away.wait()
            beside = [await _waited(other, MEASURED + number) for number in range(MEASURED)]
            stop.set()
            await flood
    assert median(beside) < max(LONGER * median(alone), AT_ONCE), (median(alone), median(beside))


async def test_memory_does_not_grow_with_the_length_of_a_flood(tmp_path: Path) -> None:
    with site(tmp_path) as plant:
        async with plant.technician() as tech:
            await tech.send("loud", "loud", "register", MODEL)
            await _flood(tech)
            before = resident(plant.gateway.process_id)
            for number in range(1, 5):
                await _flood(tech, number * FLOOD)
            assert resident(plant.gateway.process_id) - before < 32 * MEBIBYTE


@pytest.mark.embedded
async def test_while_the_store_is_away_a_flood_is_answered_and_all_others_are_parked_and_settled(
    tmp_path: Path,
) -> None:
    store = EventStoreProcess(tmp_path / "store")
    broker = Broker(tmp_path / "broker")
    store.start()
    limits = {"commands_per_second": 0.0, "parked_per_actor": 30}
    event_store = {"url": store.url, "patience": 0.5, "deadline": 1.0, "keepalive": 0.5}
    gateway = GatewayProcess(tmp_path / "gateway", broker.port, {"event_store": event_store, "limits": limits})
    others = [f"calm-{number}" for number in range(5)]
    try:
        broker.start()
        gateway.start()
        async with technician(broker.port) as tech:
            for device in ("loud", *others):
                await tech.send(device, device, "register", MODEL)
            store.kill()
            flood = asyncio.create_task(_flood(tech, final=False))
            await asyncio.gather(*(_publish(tech, device, number) for number in range(3) for device in others))
            polite = [await tech.ack(f"{device}-{number}") for device in others for number in range(3)]
            refused = [ack for ack in await flood if ack["code"] != 202]
            store.start()
            settled = [await tech.ack(f"{device}-{number}", 1) for device in others for number in range(3)]
            again = await tech.send(
                "loud", "loud", "report", {"properties": {"count": -1}}, id=refused[-1]["command_id"]
            )
    finally:
        gateway.close()
        broker.stop()
        store.close()
    assert {ack["code"] for ack in polite} == {202}
    assert [(ack["code"], ack["revision"]) for ack in settled] == [
        (200, number) for _ in others for number in (1, 2, 3)
    ]
    assert len(refused) == FLOOD - 30
    assert {(ack["code"], ack["retry_after_ms"] > 0) for ack in refused} == {(503, True)}
    assert again["code"] == 200


async def _flood(tech: Technician, first: int = 0, *, final: bool = True) -> list[Any]:
    """As many reports as the line takes; every answer, final or first."""
    answer = tech.final if final else tech.ack
    numbers = range(first, first + FLOOD)
    sending = [asyncio.create_task(_publish(tech, "loud", number)) for number in numbers]
    acks = [await answer(f"loud-{number}") for number in numbers]
    await asyncio.gather(*sending)
    return acks


async def _flood_on(tech: Technician, turned_away: asyncio.Event, stop: asyncio.Event) -> None:
    """Reports without end, many of them under way at once; says when the first is refused as too fast."""
    numbers = count()

    async def one_after_the_other() -> None:
        while not stop.is_set():
            number = next(numbers)
            await _publish(tech, "loud", number)
            if (await tech.ack(f"loud-{number}"))["code"] == 429:
                turned_away.set()

    await asyncio.gather(*(one_after_the_other() for _ in range(WINDOW)))


async def _waited(tech: Technician, number: int) -> float:
    """Seconds for one report."""
    began = asyncio.get_running_loop().time()
    assert (await _report(tech, "calm", number))["code"] == 200
    return asyncio.get_running_loop().time() - began


async def _report(tech: Technician, device: str, number: int) -> Any:
    await _publish(tech, device, number)
    return await tech.final(f"{device}-{number}")


async def _publish(tech: Technician, device: str, number: int) -> None:
    await tech.publish(f"cmd/{device}/{device}/report", _body(device, number))


def _body(device: str, number: int) -> dict[str, object]:
    return {"command_id": f"{device}-{number}", "data": {"properties": {"count": number}}}
