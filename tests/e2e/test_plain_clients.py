"""No client library is needed, and MQTT 3.1.1 is enough."""

import asyncio
import json
import subprocess

from aiomqtt import ProtocolVersion

from tests.support.site import Site
from tests.support.technician import ROOT, Technician


async def _run(*command: str) -> str:
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout


async def test_an_mqtt_3_client_is_served_in_full(shared_site: Site, device: str) -> None:
    async with shared_site.technician(ProtocolVersion.V311) as tech:
        assert (await tech.send(device, device, "register", {"model": "T-1000"}, id="c-1"))["code"] == 201
        copy = await tech.send(device, device, "register", {"model": "T-1000"}, id="c-1")
        assert (copy["code"], copy["duplicate"]) == (201, True)
        assert (await tech.until(f"state/{device}"))["model"] == "T-1000"


async def test_an_mqtt_3_client_asks_and_has_the_answer_on_its_own_topic(shared_site: Site, online: str) -> None:
    async with shared_site.technician(ProtocolVersion.V311) as tech:
        await tech.watch(f"answer/{online}/#")
        for query, parameters in (("get", {"device": online}), ("history", {"device": online}), ("feed", {"limit": 1})):
            coming = asyncio.create_task(tech.next_live(f"answer/{online}/{query}"))
            await tech.publish(f"query/{online}/{query}", parameters)
            answer = await coming
            assert (answer["query"], answer["actor"], answer["code"]) == (query, online, 200)
            assert answer["result"]
        await tech.publish(f"query/{online}/get", {"device": "somebody-else"})
        refused = await tech.first(lambda message: message.body.get("code") == 403)
        assert refused.topic == f"answer/{online}/get"


async def test_mosquitto_pub_needs_nothing_but_the_data(shared_site: Site, tech: Technician, device: str) -> None:
    topic = f"{ROOT}/cmd/{device}/{device}/register"
    port = str(shared_site.broker.port)
    await _run("mosquitto_pub", "-p", port, "-q", "1", "-t", topic, "-m", '{"model": "T-1000"}')
    ack = await tech.until(f"ack/{device}/{device}")
    assert (ack["code"], ack["dedupe"]) == (201, "none")


async def test_mosquitto_sub_reads_the_retained_state(shared_site: Site, tech: Technician, online: str) -> None:
    await tech.until(f"state/{online}", lambda state: state["revision"] == 1)
    topic = f"{ROOT}/state/{online}"
    state = json.loads(
        await _run("mosquitto_sub", "-p", str(shared_site.broker.port), "-C", "1", "-W", "10", "-t", topic)
    )
    assert (state["model"], state["connected"]) == ("T-1000", True)


async def test_mosquitto_rr_asks_and_prints_the_acknowledgement(shared_site: Site, online: str) -> None:
    answer = await _run(
        *("mosquitto_rr", "-V", "5", "-q", "1", "-W", "10", "-p", str(shared_site.broker.port)),
        *("-t", f"{ROOT}/cmd/alice/{online}/configure", "-e", f"{ROOT}/ack/alice/me"),
        *("-m", '{"command_id": "speed-1", "data": {"properties": {"rpm": 1200}}}'),
    )
    ack = json.loads(answer)
    assert (ack["command_id"], ack["code"]) == ("speed-1", 200)
