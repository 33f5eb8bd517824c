"""The end of the write-ahead log is torn: the log is then a prefix of what it was, and everything else follows it."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.event_log import LoggedEvent
from tests.support.site import Site, site
from tests.support.technician import Body, Received, Technician

FLEET = [f"pump-{number}" for number in range(4)]
ROUNDS = 3
OFTEN, SELDOM = 0.05, 600.0
HEADER = 32
FRAME = 24 + 4096

pytestmark = pytest.mark.embedded


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, {"readmodel": {"flush_interval": OFTEN}}) as one:
        yield one


class Growth:
    """Grows the log, and takes note of how long the write-ahead log was when an event was acknowledged."""

    def __init__(self, tech: Technician, wal: Path) -> None:
        self._tech = tech
        self._wal = wal
        self._confirmed: dict[int, int] = {}

    async def grow(self, label: str, *, reports: int = 8) -> None:
        """Reports of all devices, acknowledged and in the read cache."""
        await asyncio.gather(*(self._report(device, label, reports) for device in FLEET))

    def confirmed_within(self, length: int) -> int:
        """The last position that was acknowledged while the write-ahead log was no longer than this."""
        return max((position for position, then in self._confirmed.items() if then <= length), default=0)

    async def _report(self, device: str, label: str, reports: int) -> None:
        await self._send(device, "register", {"model": "T-1000"}, "register")
        for number in range(reports):
            await self._send(device, "report", {"properties": {label: number}}, f"{label}-{number}")

    async def _send(self, device: str, command: str, data: Body, id_: str) -> None:
        ack = await self._tech.send(device, device, command, data, id=f"{device}-{id_}", wait_for="projected")
        assert ack["status"] == "accepted", ack
        self._confirmed[ack["position"]] = self._wal.stat().st_size


def _tear(wal: Path, draw: random.Random) -> int:
    """Spoil the end of the file, from a place in its second half on; what stands before it is intact."""
    content = wal.read_bytes()
    frames = (len(content) - HEADER) // FRAME
    at = HEADER + FRAME * draw.randrange(frames // 2, frames) + draw.randrange(FRAME)
    match draw.choice(["cut", "garbage", "zeros", "bit"]):
        case "cut":
            torn = content[:at]
        case "garbage":
            torn = content[:at] + draw.randbytes(len(content) - at)
        case "zeros":
            torn = content[:at] + bytes(len(content) - at)
        case _:
            torn = content[:at] + bytes((content[at] ^ 1 << draw.randrange(8),)) + content[at + 1 :]
    wal.write_bytes(torn)
    return at


def _as_told(log: Sequence[LoggedEvent]) -> list[tuple[int, str, int, str]]:
    return [(event.position, event.stream, event.revision, event.id) for event in log]


@pytest.mark.timeout(60)
async def test_a_torn_end_costs_the_events_in_it_and_nothing_that_stands_before_it(own_site: Site) -> None:
    gateway = own_site.gateway
    wal = gateway.database.with_name(f"{gateway.database.name}-wal")
    draw = random.Random(20260304)
    for round_ in range(ROUNDS):
        async with own_site.technician() as tech:
            growth = Growth(tech, wal)
            await growth.grow(f"r{round_}")
            before = gateway.logged()
            await _until_flushed(gateway.cache, before[-1].position)
        await asyncio.to_thread(gateway.kill)
        at = _tear(wal, draw)
        # the file of the read cache stays as it is until the log is longer than it was
        _flush_every(SELDOM, gateway.config)
        await asyncio.to_thread(gateway.start)
        async with own_site.technician() as tech:
            await tech.watch("event/#")
            after = gateway.logged()
            assert _as_told(after) == _as_told(before)[: len(after)]
            assert len(after) >= growth.confirmed_within(at)
            await _broker_is_set_back(tech, after)
            # what is lost is news when it is sent again, so the log is soon longer than it was
            again = Growth(tech, wal)
            await again.grow(f"r{round_}")
            await again.grow(f"r{round_}_more", reports=1)
            await tech.first(_is_event(gateway.logged()[-1].id))
        await asyncio.to_thread(gateway.kill)
        await asyncio.to_thread(gateway.start)
        assert await asyncio.to_thread(gateway.terminate) == 0
        verified = await asyncio.to_thread(gateway.run, "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        _flush_every(OFTEN, gateway.config)
        await asyncio.to_thread(gateway.start)
    assert gateway.log("read_cache_dropped"), "no round took anything away: the test proves nothing"


def _flush_every(seconds: float, config: Path) -> None:
    settings = config.read_text()
    for known in (OFTEN, SELDOM):
        settings = settings.replace(f"flush_interval = {known}", f"flush_interval = {seconds}")
    config.write_text(settings)


async def _until_flushed(cache: Path, position: int) -> None:
    """Wait until the file of the read cache has everything: from now on it is ahead of a log that is torn."""
    async with asyncio.timeout(10):
        while True:
            if cache.exists():
                (checkpoint,) = json.loads(cache.read_bytes())["checkpoint"].values()
                if checkpoint["position"] == position:
                    return
            await asyncio.sleep(0.02)


async def _broker_is_set_back(tech: Technician, log: Sequence[LoggedEvent]) -> None:
    """What is retained at the broker becomes what the log has."""
    for device, revision in {event.device: event.revision for event in log}.items():
        await tech.until(f"state/{device}", _is_at(revision))


def _is_at(revision: int) -> Callable[[Body], bool]:
    return lambda state: bool(state["revision"] == revision)


def _is_event(id_: str) -> Callable[[Received], bool]:
    return lambda message: bool(message.body.get("id") == id_)
