"""What cannot be read ends in the dead-letter topic, with its reason."""

from base64 import b64decode
from uuid import uuid4

from tests.support.technician import ROOT, Body, Technician

TOPIC = "deadletter"


async def test_a_topic_that_names_no_device_is_buried(tech: Technician, online: str) -> None:
    await tech.watch(TOPIC)
    nonsense = f"cmd/{online}/no device/report"
    await tech.publish(nonsense, {"properties": {"rpm": 1}})
    letter = (await tech.first(lambda message: message.body.get("topic") == f"{ROOT}/{nonsense}")).body
    assert letter["reason"] == "unreadable-topic"
    assert letter["payload"] == '{"properties": {"rpm": 1}}'


async def test_a_query_that_names_nobody_is_buried_too(tech: Technician) -> None:
    await tech.watch(TOPIC)
    nonsense = f"query/{uuid4()}/no query"
    await tech.publish(nonsense, {"device": "pump-7"})
    letter = (await tech.first(lambda message: message.body.get("topic") == f"{ROOT}/{nonsense}")).body
    assert (letter["reason"], letter["payload"]) == ("unreadable-topic", '{"device": "pump-7"}')


async def test_a_query_that_is_not_json_is_buried_beside_its_refusal(tech: Technician) -> None:
    await tech.watch(TOPIC)
    await tech.watch("answer/alice/outcome")
    await tech.publish("query/alice/outcome", b"{")
    letter = (await tech.first(lambda message: message.body.get("topic") == f"{ROOT}/query/alice/outcome")).body
    assert (letter["reason"], letter["payload"]) == ("not-json", "{")
    assert (await tech.until("answer/alice/outcome"))["code"] == 400


async def test_what_is_not_json_is_buried_beside_its_refusal(tech: Technician, online: str) -> None:
    await tech.watch(TOPIC)
    command_id = str(uuid4())
    await tech.publish(f"cmd/{online}/{online}/report", b"\xff\xfe", correlation=command_id.encode())
    letter = (await tech.first(lambda message: message.body.get("topic", "").startswith(f"{ROOT}/cmd/{online}"))).body
    assert (letter["reason"], letter["size"]) == ("not-json", 2)
    assert b64decode(letter["payload_base64"]) == b"\xff\xfe"
    assert (await tech.ack(command_id))["code"] == 400


async def test_of_a_payload_over_the_limit_the_beginning_is_kept(tech: Technician, online: str) -> None:
    await tech.watch(TOPIC)
    await tech.publish(f"cmd/{online}/{online}/report", b"x" * 70_000)
    letter = (await tech.first(lambda message: message.body.get("size") == 70_000)).body
    assert (letter["reason"], letter["truncated"], letter["payload"]) == ("too-large", True, "x" * 4_096)


async def test_dead_letters_are_counted(tech: Technician) -> None:
    def buried(health: Body) -> int:
        return int(health["counters"].get("dead_letters", 0))

    before = buried(await tech.next_live("gateway/health"))
    await tech.publish("cmd/a b/c d/report", {})
    assert await tech.until("gateway/health", lambda health: buried(health) == before + 1)
