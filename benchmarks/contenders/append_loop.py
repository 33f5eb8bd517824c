"""What esdbclient alone gets out of a server: ``python -m benchmarks.contenders.append_loop URL WARM_UP SECONDS``.

As many tasks as the gateway has calls in flight, each with a stream of its own: append an event, wait, append the next.
Prints a :class:`~benchmarks.figures.Turn` as JSON.
"""

import asyncio
import json
import os
import sys
import time
from dataclasses import asdict
from itertools import count
from typing import Final
from uuid import uuid4

from esdbclient import AsyncEventStoreDBClient, NewEvent, StreamState

from benchmarks.figures import Turn, percentile
from benchmarks.processes import resident_mib
from gateway.settings import EventStoreSettings

TASKS: Final = EventStoreSettings().in_flight
DATA: Final = b'{"properties":{"temperature":41.5,"rpm":1000000000}}'
METADATA: Final = b'{"actor":"pump-000000","command_id":"01890000-0000-7000-8000-000000000000","gateway":"gw1"}'


async def append(client: AsyncEventStoreDBClient, latencies: list[float]) -> None:
    """Append to one stream until cancelled."""
    stream = f"loop-{uuid4().hex}"
    for number in count():
        began = time.perf_counter()
        event = NewEvent(type="PropertiesReported", data=DATA, metadata=METADATA)
        await client.append_events(
            stream, events=[event], current_version=number - 1 if number else StreamState.NO_STREAM
        )
        latencies.append(time.perf_counter() - began)


async def measure(url: str, warm_up: float, seconds: float) -> Turn:
    """Append for so long."""
    client = AsyncEventStoreDBClient(url)
    await client.connect()
    latencies: list[float] = []
    tasks = [asyncio.create_task(append(client, latencies)) for _ in range(TASKS)]
    await asyncio.sleep(warm_up)
    latencies.clear()
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    taken, cpu, ordered = time.perf_counter() - began, time.process_time() - cpu, sorted(latencies)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await client.close()
    p50, p99, p999 = (percentile(ordered, share) * 1_000 for share in (0.5, 0.99, 0.999))
    return Turn(
        rate=len(ordered) / taken,
        p50=p50,
        p99=p99,
        p999=p999,
        longest=ordered[-1] * 1_000,
        cpu_us=cpu / len(ordered) * 1e6,
        rss_mib=resident_mib(os.getpid()),
        generator=0.0,
        broker=0.0,
    )


def main() -> None:
    """Measure, and tell."""
    url, warm_up, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    print(json.dumps(asdict(asyncio.run(measure(url, warm_up, seconds)))))


if __name__ == "__main__":
    main()
