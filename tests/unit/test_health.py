import asyncio
from collections import Counter

import orjson
import pytest
from structlog.testing import capture_logs

from gateway.domain.catalogue import Catalogue
from gateway.domain.device import DEVICE
from gateway.errors import PublishRefused
from gateway.health import Health
from gateway.schema import gateway_info
from gateway.topics import Topics
from tests.support.fixed_clock import FixedClock
from tests.support.recording_publisher import RecordingPublisher, fail
from tests.support.requests import NOW

TOPICS = Topics("edge/gw1")


@pytest.fixture
def counters() -> Counter[str]:
    return Counter(received=3)


@pytest.fixture
async def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
async def health(publisher: RecordingPublisher, counters: Counter[str]) -> Health:
    info = gateway_info(Catalogue([DEVICE]), "gw1")
    probe = {"in_flight": 7}
    return Health(publisher, TOPICS, FixedClock(NOW), counters, info=info, interval=0.001, probe=lambda: probe)


async def test_a_connection_is_announced_with_its_epoch(health: Health, publisher: RecordingPublisher) -> None:
    health.connected(12, session_lost=False)
    [status] = publisher.payloads(TOPICS.status)
    assert orjson.loads(status) == {"state": "online", "epoch": 12, "since": "2026-03-01T12:00:00Z"}
    assert all(one.retain for one in publisher.published)


async def test_the_will_and_the_goodbye_say_offline(health: Health, publisher: RecordingPublisher) -> None:
    topic, will = health.will(12)
    await health.leave(12)
    assert topic == TOPICS.status
    assert orjson.loads(will)["state"] == "offline"
    assert publisher.payloads(TOPICS.status) == [will]


async def test_the_gateway_describes_its_commands(health: Health, publisher: RecordingPublisher) -> None:
    health.connected(1, session_lost=False)
    info = orjson.loads(publisher.payloads(TOPICS.info)[0])
    assert set(info["commands"]) == {command.name for command in DEVICE.commands}
    configure = info["commands"]["configure"]
    assert configure["issued_by"] == ["operator"]
    assert configure["causes"] == ["ConfigurationRequested", "ConfigurationApplied"]
    assert configure["schema"]["required"] == ["properties"]


async def test_a_lost_session_is_counted(health: Health, counters: Counter[str]) -> None:
    health.connected(1, session_lost=True)
    health.connected(2, session_lost=False)
    assert (counters["sessions_lost"], counters["connections"]) == (1, 2)


async def test_health_has_the_figures_and_the_counters(health: Health) -> None:
    report = orjson.loads(health.report())
    assert (report["in_flight"], report["counters"]) == (7, {"received": 3})


async def test_health_is_published_while_there_is_a_connection(health: Health, publisher: RecordingPublisher) -> None:
    task = asyncio.create_task(health.run())
    await asyncio.sleep(0)
    assert not publisher.published
    health.connected(1, session_lost=False)
    while len(publisher.payloads(TOPICS.health)) < 2:
        await asyncio.sleep(0)
    health.lost()
    task.cancel()
    await asyncio.wait([task])


async def test_what_the_broker_refuses_is_told_once_for_each_connection(
    health: Health, publisher: RecordingPublisher
) -> None:
    publisher.confirms = False
    with capture_logs() as lines:
        for epoch in (1, 2):
            health.connected(epoch, session_lost=False)
            await asyncio.gather(health.leave(epoch), *_refused(publisher), return_exceptions=True)
    told = [line["topic"] for line in lines if line["event"] == "figures_refused_by_broker"]
    assert told == [TOPICS.status, TOPICS.info] * 2


def _refused(publisher: RecordingPublisher) -> list[asyncio.Future[None]]:
    futures = [one.future for one in publisher.published if not one.future.done()]
    for future in futures:
        fail(future, PublishRefused("Not authorized"))
    return futures
