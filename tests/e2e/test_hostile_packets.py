"""Messages that no client library sends, in bytes, through a real broker to a real gateway."""

import asyncio
from collections import Counter

from tests.support.hostile import PROPERTIES, QUERIES, TOPICS
from tests.support.raw_client import publish_raw
from tests.support.site import Site
from tests.support.technician import Technician

TOPIC = b"edge/gw1/cmd/pump/pump/report"
PAYLOAD = b'{"properties": {"a": 1}}'
HUGE = 16 * 1024 * 1024
TAKEN_BY_EVERY_BROKER = 15
FAULTS = ("command_fault", "intake_fault", "query_fault", "link_lost", "library_message")


async def test_whatever_the_broker_lets_through_is_answered_and_the_connection_stands(own_site: Site) -> None:
    port = own_site.broker.port
    async with own_site.technician() as tech:
        await tech.watch("deadletter")
        await tech.send("pump", "pump", "register", {"model": "T-1000"})
        before = _answered(tech)
        taken = [
            *[await publish_raw(port, TOPIC, PAYLOAD, properties) for properties in PROPERTIES.values()],
            *[await publish_raw(port, topic, PAYLOAD) for topic in TOPICS.values()],
            await publish_raw(port, TOPIC, b""),
            await publish_raw(port, TOPIC, b"x" * HUGE),
            await publish_raw(port, TOPIC, PAYLOAD, flags=0b1011),
        ]
        assert taken.count(True) > TAKEN_BY_EVERY_BROKER
        async with asyncio.timeout(30):
            while _answered(tech) - before < taken.count(True):
                await asyncio.sleep(0.02)
        codes = Counter(ack.body["code"] for acks in tech.acks.values() for ack in acks)
        assert codes[500] == 0
        assert codes[413] > 0
        last = await tech.send("pump", "pump", "report", {"properties": {"still": "alive"}}, wait_for="projected")
        assert (last["code"], _answered(tech) - before) == (200, taken.count(True) + 1)
    assert [line for fault in FAULTS for line in own_site.gateway.log(fault)] == []


async def test_whatever_is_asked_is_answered_by_a_running_gateway(own_site: Site) -> None:
    async with own_site.technician() as tech:
        await tech.watch("answer/#")
        await tech.send("pump", "pump", "register", {"model": "T-1000"}, wait_for="projected")
        answers = {}
        # not all at once: only so many may wait
        for index, (title, (name, payload)) in enumerate(QUERIES.items()):
            await tech.publish(f"query/alice/{name}", payload, response_topic=f"answer/alice/{index}")
            answers[title] = await tech.until(f"answer/alice/{index}")
    assert {title: answer for title, answer in answers.items() if answer["code"] >= 500} == {}
    assert [line for fault in FAULTS for line in own_site.gateway.log(fault)] == []


def _answered(tech: Technician) -> int:
    """How many messages have an acknowledgement, or a dead letter because nobody could be told."""
    letters = [message.body["reason"] for message in tech.received if message.topic == "deadletter"]
    return sum(map(len, tech.acks.values())) + letters.count("unreadable-topic")
