"""How long a polite device waits for its answers while another floods the gateway, beside how long it waits alone.

Run ``.venv/bin/python -m benchmarks.flood``. Needs mosquitto, and mosquitto_pub, which floods: several at a time send
reports of the other device as fast as the broker takes them. The polite device sends one report after the other.
Alone and flooded are measured in turns on one gateway, with the default limit for each actor and without one.
"""

import asyncio
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiomqtt

from gateway.settings import LimitSettings
from tests.support.site import Site, site
from tests.support.technician import ROOT

TURNS: Final = 3
REPORTS: Final = 100
SENDERS: Final = 3
LINES: Final = 400_000


class Polite:
    """A device that sends the next report when the last one is answered; it hears nothing of the flood."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self._sent = 0

    async def ask(self, device: str, command: str, data: dict[str, object]) -> float:
        """Seconds from a command to its answer."""
        began = time.perf_counter()
        self._sent += 1
        body = {"command_id": f"{device}-{self._sent}", "data": data}
        await self._client.publish(f"{ROOT}/cmd/{device}/{device}/{command}", json.dumps(body), qos=1)
        async for message in self._client.messages:
            if json.loads(message.payload)["command_id"] == body["command_id"]:
                return time.perf_counter() - began
        raise AssertionError("the broker is gone")

    async def waits(self) -> list[float]:
        """Seconds that each of some reports waits."""
        return [
            await self.ask("calm", "report", {"properties": {"count": number, "at": time.time()}})
            for number in range(REPORTS)
        ]


@asynccontextmanager
async def flood(plant: Site, lines: Path) -> AsyncIterator[None]:
    """Another device sends as fast as the broker takes it, until the block ends; then until all of it is answered."""
    command = ["mosquitto_pub", "-p", str(plant.broker.port), "-q", "1", "-l", "-t", f"{ROOT}/cmd/loud/loud/report"]
    senders = []
    for _ in range(SENDERS):
        with lines.open("rb") as stream:
            senders.append(subprocess.Popen(command, stdin=stream))  # noqa: ASYNC220, S603 - starts at once, and is ours
    before, began = await received(plant), time.perf_counter()
    try:
        yield
    finally:
        for sender in senders:
            sender.kill()
            sender.wait()
    seconds = time.perf_counter() - began
    taken = await received(plant) - before
    print(f"{'':14} flooded for {seconds:.1f} s; the gateway took {taken / seconds:,.0f} commands a second")


async def received(plant: Site) -> int:
    """How many commands have reached the gateway, as soon as it says so anew."""
    async with aiomqtt.Client("127.0.0.1", plant.broker.port) as client:
        await client.subscribe(f"{ROOT}/gateway/health", qos=1)
        async for message in client.messages:
            if not message.retain:
                health: dict[str, Any] = json.loads(message.payload)
                return int(health["counters"]["received"])
    raise AssertionError("the broker is gone")


async def measure(name: str, rate: float, directory: Path) -> None:
    """Alone and flooded in turns."""
    lines = directory / "flood.jsonl"
    lines.write_text("".join(f"{json.dumps({'properties': {'count': number}})}\n" for number in range(LINES)))
    alone: list[float] = []
    flooded: list[float] = []
    with site(directory / "site", {"limits": {"commands_per_second": rate}}) as plant:
        # small packets wait 40 ms for company otherwise
        at_once = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        async with aiomqtt.Client("127.0.0.1", plant.broker.port, socket_options=at_once) as client:
            polite = Polite(client)
            await client.subscribe([(f"{ROOT}/ack/{device}/#", 1) for device in ("calm", "loud")])
            for device in ("calm", "loud"):
                await polite.ask(device, "register", {"model": "T-1000"})
            await client.unsubscribe(f"{ROOT}/ack/loud/#")
            for _ in range(TURNS):
                alone += await polite.waits()
                async with flood(plant, lines):
                    flooded += await polite.waits()
                await polite.ask("calm", "disconnect", {})  # comes behind what is left of the flood
    tell(name, sorted(alone), sorted(flooded))


def tell(name: str, alone: list[float], flooded: list[float]) -> None:
    """Both, and how they compare."""
    at = len(alone) * 99 // 100
    for how, found in (("alone", alone), ("flooded", flooded)):
        print(f"{name:14} {how:8} median {median(found) * 1_000:8.1f} ms   99 % {found[at] * 1_000:8.1f} ms")
    print(
        f"{name:14} {'ratio':8} median {median(flooded) / median(alone):8.1f}      99 % {flooded[at] / alone[at]:8.1f}"
    )


async def main() -> None:
    """Measure with the default limit, and with none."""
    for name, rate in (("default limit", LimitSettings().commands_per_second), ("no limit", 0.0)):
        with tempfile.TemporaryDirectory() as directory:
            await measure(name, rate, Path(directory))


if __name__ == "__main__":
    asyncio.run(main())
