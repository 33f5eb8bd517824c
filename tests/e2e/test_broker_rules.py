"""What devices and people can do at a broker with the files of ``edge-gateway broker-config``, and what they cannot.

A refusal cannot be told from silence. So each attack is followed by something permitted, and whoever should not have
seen the attack has seen that, and not what came before.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import aiomqtt
import pytest
from aiomqtt import ProtocolVersion, Will

from tests.support.production_site import PATIENCE, ProductionSite, production_site
from tests.support.raw_client import length, text
from tests.support.technician import ROOT, Received, Technician

# none of it depends on where the events are
pytestmark = pytest.mark.embedded

VERSIONS = pytest.mark.parametrize("version", [ProtocolVersion.V5, ProtocolVersion.V311], ids=["5", "3.1.1"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProductionSite]:
    with production_site(tmp_path_factory.mktemp("production"), homeassistant={"enabled": True}) as one:
        one.enrol("mallet")
        yield one


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[ProductionSite]:
    with production_site(tmp_path) as one:
        one.enrol("mallet")
        yield one


@pytest.fixture
def pump(site: ProductionSite) -> str:
    """A device with a certificate, of which nobody has heard."""
    name = f"pump-{uuid4().hex[:8]}"
    site.enrol(name)
    return name


def _holding(token: str) -> Callable[[Received], bool]:
    return lambda message: token.encode() in message.payload


async def _does_not_see(watcher: Technician, token: str, sign: Technician, topic: str) -> bool:
    """Whether somebody has not been told a token, once he has been told what was published later."""
    later = uuid4().hex
    await sign.publish(topic, {"command_id": later})
    await watcher.first(_holding(later))
    return not any(map(_holding(token), watcher.received)) and token not in watcher.acks


@VERSIONS
async def test_a_device_with_a_certificate_is_acknowledged_and_reads_what_is_its_own(
    site: ProductionSite, pump: str, version: ProtocolVersion
) -> None:
    async with site.device(pump, version) as device, site.person("alice", version) as alice:
        assert (await device.send(pump, pump, "register", {"model": "T-1000"}))["code"] == 201
        assert (await alice.send("alice", pump, "configure", {"properties": {"rpm": 900}}))["code"] == 200
        assert (await device.until(f"config/{pump}"))["properties"] == {"rpm": 900}
        assert (await device.until(f"state/{pump}"))["model"] == "T-1000"
        assert (await device.until("gateway/status"))["state"] == "online"


@VERSIONS
async def test_an_operator_with_a_certificate_commands_and_sees_every_device(
    site: ProductionSite, pump: str, version: ProtocolVersion
) -> None:
    site.enrol("operator-1", "--operator", "--renew")
    async with site.device("operator-1", version) as operator, site.device(pump, version) as device:
        await device.send(pump, pump, "register", {"model": "T-1000"})
        assert (await operator.send("operator-1", pump, "configure", {"properties": {"rpm": 1}}))["code"] == 200
        assert (await operator.until(f"state/{pump}", lambda body: bool(body["desired"])))["desired"] == {"rpm": 1}


@VERSIONS
async def test_an_operator_of_some_devices_commands_and_sees_these_and_no_others(
    site: ProductionSite, pump: str, version: ProtocolVersion
) -> None:
    site.enrol("pump-7", "--renew")
    async with (
        site.person("bob", version) as bob,
        site.person("alice", version) as alice,
        site.device("pump-7", version) as device,
    ):
        await bob.watch("#")
        await alice.send("alice", pump, "register", {"model": "T-1000"}, wait_for="projected")
        assert (await bob.send("bob", pump, "annotate", {"name": pump}))["code"] == 403
        await device.send("pump-7", "pump-7", "register", {"model": "T-1000"})
        assert (await bob.send("bob", "pump-7", "annotate", {"name": pump}))["code"] == 200
        await bob.until("state/pump-7")
        assert [message.topic for message in bob.received if pump in message.topic] == []


@VERSIONS
async def test_what_watches_reads_the_gateways_and_the_brokers_figures_and_sends_nothing_that_counts(
    site: ProductionSite, pump: str, version: ProtocolVersion
) -> None:
    token = uuid4().hex
    async with site.person("_metrics", version) as watcher, site.person("alice", version) as alice:
        await alice.watch("#")
        await watcher._client.subscribe([("#", 1), ("$SYS/broker/version", 0)])
        await watcher.until("gateway/health")
        assert b"mosquitto" in (await watcher.first(lambda message: message.topic.startswith("$SYS/"))).payload
        for actor in ("alice", pump):
            await watcher.publish(f"cmd/{actor}/{pump}/register", {"command_id": token, "data": {"model": "T-1000"}})
        assert await _does_not_see(alice, token, alice, "cmd/alice/alice/-")
        assert {message.topic.split("/")[0] for message in watcher.received} <= {"gateway", "$SYS"}


@VERSIONS
@pytest.mark.parametrize(
    "topic",
    [
        "cmd/{pump}/{pump}/register",
        "cmd/alice/{pump}/register",
        "cmd/_gateway/{pump}/register",
        "query/alice/list",
        "query/{pump}/get",
    ],
)
async def test_a_command_or_query_in_the_name_of_another_does_not_reach_the_gateway(
    site: ProductionSite, pump: str, version: ProtocolVersion, topic: str
) -> None:
    token = uuid4().hex
    async with site.device("mallet", version) as mallet, site.person("_gateway", version) as gateway:
        await gateway.watch("#")
        await mallet.publish(topic.format(pump=pump), {"command_id": token, "data": {"model": "T-1000"}})
        assert await _does_not_see(gateway, token, mallet, "cmd/mallet/mallet/connect")


@VERSIONS
@pytest.mark.parametrize(
    "topic",
    [
        "ack/alice/{pump}",
        "answer/alice/list",
        "state/{pump}",
        "state/mallet",
        "config/{pump}",
        "event/{pump}/Forged",
        "gateway/status",
        "gateway/info",
        "gateway/health",
        "deadletter",
    ],
)
async def test_nobody_can_speak_for_the_gateway(
    site: ProductionSite, pump: str, version: ProtocolVersion, topic: str
) -> None:
    token = uuid4().hex
    async with site.device("mallet", version) as mallet, site.person("alice", version) as alice:
        await alice.watch("#")
        await mallet.publish(topic.format(pump=pump), {"command_id": token}, retain=True)
        # alice does not see the commands of others; one that cannot be read comes back to her as a dead letter
        assert await _does_not_see(alice, token, mallet, "cmd/mallet/mallet/-")


@VERSIONS
@pytest.mark.parametrize("pattern", ["#", f"{ROOT}/#", f"{ROOT}/ack/#", "$share/thieves/edge/gw1/#", "+/+/+/+/+/+"])
async def test_whoever_subscribes_to_everything_is_told_what_is_his(
    site: ProductionSite, pump: str, version: ProtocolVersion, pattern: str
) -> None:
    async with (
        site.device("mallet", version) as mallet,
        site.device(pump, version) as device,
        site.person("alice") as alice,
    ):
        await mallet._client.subscribe(pattern, qos=1)
        await device.send(pump, pump, "register", {"model": "T-1000"})
        await alice.send("alice", pump, "configure", {"properties": {"rpm": 900}}, wait_for="projected")
        await device.watch(f"answer/{pump}/get")
        await device.publish(f"query/{pump}/get", {"device": pump})
        await device.until(f"answer/{pump}/get")
        await mallet.send("mallet", "mallet", "connect")
        own = {"state/mallet", "config/mallet", "gateway/status", "gateway/info"}
        foreign = {message.topic for message in mallet.received if not message.topic.startswith("event/mallet/")} - own
        assert (foreign, len(mallet.acks)) == (set(), 1)


async def test_a_shared_subscription_takes_no_command_from_the_gateway(site: ProductionSite, pump: str) -> None:
    async with site.device("mallet") as mallet, site.device(pump) as device:
        await mallet._client.subscribe(f"$share/thieves/{ROOT}/cmd/#", qos=1)
        for _ in range(10):
            await device.send(pump, pump, "register", {"model": "T-1000"}, again_after=20)
        assert mallet.received == []


@VERSIONS
@pytest.mark.parametrize(
    ("victim", "topic"),
    [
        ("_gateway", "cmd/alice/{pump}/register"),
        ("_gateway", "query/alice/list"),
        ("alice", "ack/alice/{pump}"),
        ("alice", "state/{pump}"),
        ("alice", "gateway/status"),
    ],
)
async def test_a_will_is_published_in_nobody_elses_name(
    site: ProductionSite, pump: str, version: ProtocolVersion, victim: str, topic: str
) -> None:
    token, own = uuid4().hex, uuid4().hex
    async with (
        site.person("_gateway") as gateway,
        site.person(victim) as watcher,
        site.device(pump) as device,
    ):
        await gateway.watch("cmd/#")
        await watcher.watch("#")
        for place, payload in ((topic.format(pump=pump), token), ("cmd/mallet/mallet/disconnect", own)):
            # retained, it would go on speaking for the gateway
            will = Will(f"{ROOT}/{place}", f'{{"command_id": "{payload}"}}', qos=1, retain=payload == token)
            # its client id is its name, so the second connection ends the first
            async with site.device("mallet", version, will=will), site.device("mallet", version):
                pass
        # after the first will was dropped, the second came: whatever is seen from now on is seen after both
        await gateway.first(_holding(own))
        assert await _does_not_see(watcher, token, device, f"cmd/{pump}/{pump}/-")


@VERSIONS
async def test_home_assistant_sees_every_device_and_no_device_speaks_for_either_to_the_other(
    site: ProductionSite, pump: str, version: ProtocolVersion
) -> None:
    forged, config = uuid4().hex, f"homeassistant/device/gw1__{pump}/config"
    async with site.person("homeassistant", version) as assistant, site.device(pump, version) as device:
        await assistant._client.subscribe([("homeassistant/#", 1), (f"{ROOT}/state/#", 1)])
        await device._client.publish(config, forged, qos=1, retain=True)
        await device._client.publish("homeassistant/status", forged, qos=1)
        await device.send(pump, pump, "register", {"model": "T-1000"})
        assert (await assistant.until(f"state/{pump}"))["model"] == "T-1000"
        assert b"T-1000" in (await assistant.first(lambda message: message.topic == config)).payload
        assert not any(map(_holding(forged), assistant.received))
        assistant.received.clear()
        await assistant._client.publish("homeassistant/status", "online", qos=1)
        await assistant.first(lambda message: message.topic == config)


async def test_an_answer_is_never_sent_into_the_subtree_of_another(site: ProductionSite, pump: str) -> None:
    async with site.device(pump) as device, site.person("alice") as alice:
        await alice.watch("#")
        for place in ("ack/alice/x", f"cmd/{pump}/{pump}/register", f"state/{pump}"):
            token = uuid4().hex
            body = {"command_id": token, "data": {"model": "T-1000"}}
            await device.publish(f"cmd/{pump}/{pump}/register", body, response_topic=place)
            assert (await device.ack(token))["code"] == 403
            assert await _does_not_see(alice, token, device, f"cmd/{pump}/{pump}/-")


@VERSIONS
async def test_commands_that_wait_for_the_gateway_survive_a_device_that_takes_its_client_id(
    own_site: ProductionSite, version: ProtocolVersion
) -> None:
    own_site.gateway.terminate()
    async with own_site.person("alice") as alice:
        for number in range(8):
            await alice.publish(f"cmd/alice/pump-{number}/annotate", {"command_id": f"c-{number}"})
        thief = own_site.gateways_client_id()
        for clean in (True, False):
            start = {"clean_start": clean} if version is ProtocolVersion.V5 else {"clean_session": clean}
            async with own_site.device("mallet", version, identifier=thief, **start):
                pass
        own_site.start_gateway()
        assert {(await alice.ack(f"c-{number}"))["code"] for number in range(8)} == {404}


@VERSIONS
async def test_no_device_can_end_the_connection_of_another(
    site: ProductionSite, pump: str, version: ProtocolVersion
) -> None:
    async with site.device(pump, version, identifier=pump) as device:
        await device.watch("gateway/status")
        async with site.device("mallet", version, identifier=pump):
            assert (await device.send(pump, pump, "register", {"model": "T-1000"}, again_after=20))["code"] == 201


@VERSIONS
@pytest.mark.parametrize("name", ["{pump}/{pump}", "+", "#", "{pump}/+", "+/+", "%u", "{pump}/#"])
async def test_a_name_with_signs_of_topics_gives_no_way_to_the_gateway(
    site: ProductionSite, pump: str, version: ProtocolVersion, name: str
) -> None:
    token = uuid4().hex
    async with site.person("_gateway") as gateway, site.person("alice") as alice:
        await gateway.watch("#")
        with suppress(aiomqtt.MqttError):  # at the latest when it publishes a wildcard
            async with site.device(site.sign(name.format(pump=pump)), version) as mallet:
                for actor in (pump, "alice"):
                    await mallet.publish(f"cmd/{actor}/{pump}/register", {"command_id": token})
        assert await _does_not_see(gateway, token, alice, "cmd/alice/alice/connect")


def test_nobody_gets_in_without_a_certificate_of_the_authority_that_is_for_clients(
    site: ProductionSite, tmp_path: Path
) -> None:
    site.run("broker-certificate", "127.0.0.1", "--ca", tmp_path / "ca", "--mosquitto", tmp_path)
    site.run("enrol", "mallet", "--ca", tmp_path / "ca", "--out", tmp_path)
    certs = site.mosquitto / "certs"
    assert not site.admits()
    assert site.admits(*site.files("mallet"))
    assert not site.admits(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert not site.admits(certs / "server.crt", certs / "server.key")


def test_nobody_gets_in_with_a_certificate_that_has_expired_or_is_not_valid_yet(site: ProductionSite) -> None:
    now = datetime.now(UTC)
    for days, admitted in ((-2, False), (0, True), (2, False)):
        assert site.admits(*site.files(site.sign("pump-7", now + timedelta(days=days)))) is admitted


async def test_whoever_has_no_password_or_a_wrong_one_is_refused(site: ProductionSite) -> None:
    for user, password in ((None, None), ("alice", None), ("_gateway", "wrong")):
        with pytest.raises(aiomqtt.MqttError, match=r"(?i)not authori[sz]ed"):
            async with aiomqtt.Client("127.0.0.1", site.broker.port, username=user, password=password):
                pass


def test_a_revoked_device_is_refused_once_the_broker_has_reloaded_and_nobody_else_is(own_site: ProductionSite) -> None:
    own_site.enrol("pump-7")
    pump, mallet = (own_site.files("pump-7"), own_site.files("mallet"))
    own_site.run("revoke", "mallet", "--ca", own_site.authority, "--mosquitto", own_site.mosquitto)
    assert own_site.admits(*mallet)
    own_site.broker.reload()
    deadline = time.monotonic() + PATIENCE
    while own_site.admits(*mallet):
        assert time.monotonic() < deadline, "it is let in still"
    assert own_site.admits(*pump)
    own_site.enrol("mallet")  # the name is free again, for another key
    assert own_site.admits(*own_site.files("mallet"))


def test_the_broker_complains_of_nothing_in_its_files_but_of_what_is_the_same_for_everybody(
    own_site: ProductionSite,
) -> None:
    own_site.broker.reload()
    own_site.broker.stop()
    log = own_site.broker.log().splitlines()
    assert any("Reloading config" in line for line in log)
    complaints = [line for line in log if "rror" in line or "arning" in line]
    meant = ("as root", "does not contain '%c' or '%u'", "TCP_NODELAY")  # the last is of the socket, which has none
    assert [line for line in complaints if not any(one in line for one in meant)] == []


def test_the_doctor_finds_nothing_wrong_with_the_broker(site: ProductionSite) -> None:
    files = ("--mosquitto", str(site.mosquitto), "--ca", str(site.authority))
    found = site.gateway.run("doctor", *files).stdout.splitlines()
    about = [line for line in found if " broker: " in line or " broker's files: " in line]
    assert [line for line in about if not line.startswith("ok ")] == []
    assert any("cannot publish commands" in line for line in about)
    assert any("keeps 150 messages for a client that is away" in line for line in about)
    assert any("packets of 4194304 bytes at most" in line for line in about)
    assert any("crl.pem is valid until" in line for line in about)
    # what the broker tells everybody is for the doctor to read, too, though he is not root
    public = [path for path in (site.mosquitto / "certs").iterdir() if path.stat().st_mode & 0o004]
    assert sorted(path.name for path in public) == ["ca.crt", "crl.pem", "server.crt"]


def as_device(site: ProductionSite, directory: str) -> dict[str, str]:
    """What the doctor finds with the certificate of a device, each finding with its level."""
    where = ("--devices-host", "127.0.0.1", "--devices-port", str(site.devices_port))
    ran = site.gateway.run("doctor", "--json", "--device", str(site.top / directory), *where)
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    return {one["detail"]: one["level"] for one in found if one["check"] == "device"}


def test_the_doctor_finds_out_what_a_device_can_forge(own_site: ProductionSite) -> None:
    own_site.enrol("doctor")
    found = as_device(own_site, "doctor")
    assert found == {
        "the broker lets a device in": "ok",
        "a device cannot publish commands as any actor: Not authorized": "ok",
        "a device cannot publish acknowledgements: Not authorized": "ok",
        "a device cannot publish states of devices: Not authorized": "ok",
        "a device cannot publish the gateway's status: Not authorized": "ok",
        "the broker lets nobody in without a user": "ok",
    }
    rules = own_site.mosquitto / "edge-gateway.acl"
    rules.write_text(f"{rules.read_text()}pattern write {ROOT}/state/#\n")
    own_site.broker.reload()
    found = as_device(own_site, "doctor")
    assert [detail for detail, level in found.items() if level == "failed"] == [
        "a device can publish states of devices"
    ]


def test_the_doctor_takes_no_other_devices_place(own_site: ProductionSite) -> None:
    [(found, level)] = as_device(own_site, "mallet").items()
    assert (level, "has no certificate of a device named doctor" in found) == ("failed", True)


async def test_a_message_beyond_the_limit_ends_its_senders_connection_and_no_other(
    site: ProductionSite, pump: str
) -> None:
    async with site.device(pump) as device:
        begun = b"\x32" + length(5_000_000) + text(f"{ROOT}/cmd/mallet/mallet/register".encode())
        assert await asyncio.to_thread(site.hangs_up_over, begun, *site.files("mallet"))
        assert (await device.send(pump, pump, "register", {"model": "T-1000"}, again_after=20))["code"] == 201


async def test_the_largest_state_that_a_device_can_have_passes(site: ProductionSite, pump: str) -> None:
    values = {f"property_{number}": "x" * 4_090 for number in range(256)}
    pages = [dict(list(values.items())[first : first + 15]) for first in range(0, 256, 15)]
    async with site.device(pump) as device, site.person("alice") as alice:
        await device.send(pump, pump, "register", {"model": "T-1000"})
        await device.send(pump, pump, "connect")
        for page in pages:
            ack = await device.send(pump, pump, "report", {"properties": page})
            assert ack["code"] == 200
            await alice.send("alice", pump, "configure", {"properties": dict.fromkeys(page, "y" * 4_090)})
        state = await device.until(f"state/{pump}", lambda body: len(body["desired"]) == 256)
        assert len(state["reported"]) == 256
