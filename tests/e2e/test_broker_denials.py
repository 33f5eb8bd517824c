"""The broker turns the gateway away: it says why, keeps trying, and is served as soon as that is mended."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiomqtt import Client

from tests.support.broker import Broker
from tests.support.certificates import Certificate, make_certificate
from tests.support.gateway_process import GatewayProcess, Sections

USER = {"username": "gateway", "password": "secret"}
QUICK = {"backoff_min": 0.05, "backoff_max": 0.3, "connect_timeout": 2.0}
RULES = """
user gateway
topic readwrite #
user alice
topic readwrite #
"""


@asynccontextmanager
async def _at(
    directory: Path, settings: dict[str, str], sections: Sections
) -> AsyncIterator[tuple[Broker, GatewayProcess]]:
    broker = Broker(directory / "broker", settings)
    broker.start()
    quick = {**sections, "mqtt": {**QUICK, **sections.get("mqtt", {})}, "outages": {"settle": 0.2}}
    gateway = GatewayProcess(directory / "gateway", broker.port, quick)
    gateway.launch()
    try:
        yield broker, gateway
    finally:
        await asyncio.to_thread(gateway.close)
        broker.stop()


async def _until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


def _passwords(file: Path, password: str) -> None:
    file.write_text("")
    for user, secret in (("gateway", password), ("alice", "secret")):
        subprocess.run(["mosquitto_passwd", "-b", file, user, secret], check=True, capture_output=True)
    file.chmod(0o644)


async def _acknowledged(broker: Broker, device: str = "p") -> str:
    """The answer to a command that is sent until there is one, as somebody with a password gets it."""
    async with Client("127.0.0.1", broker.port, username="alice", password="secret") as client:
        await client.subscribe("edge/gw1/ack/#", qos=1)
        for _ in range(20):
            await _register(client, device)
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    message = await anext(client.messages)
                    return bytes(message.payload).decode()
    raise AssertionError("no answer")


async def _register(client: Client, device: str) -> None:
    body = f'{{"command_id": "{device}-1", "data": {{"model": "T-1000"}}}}'
    await client.publish(f"edge/gw1/cmd/{device}/{device}/register", body, qos=1)


async def test_a_wrong_password_is_told_and_healed_when_the_broker_knows_it(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    _passwords(passwords, "another")
    settings = {"allow_anonymous": "false", "password_file": str(passwords)}
    async with _at(tmp_path, settings, {"mqtt": USER}) as (broker, gateway):
        await _until(lambda: len(gateway.log("link_refused")) > 2)
        assert {line["level"] for line in gateway.log("link_refused")} == {"error"}
        assert "secret" not in (tmp_path / "gateway" / "gateway.log").read_text()
        _passwords(passwords, "secret")
        broker.reload()
        await _until(lambda: gateway.log("link_connected"))
        assert '"code":201' in await _acknowledged(broker)
        await _until(lambda: [line["kind"] for line in gateway.log("outage_recorded")] == ["broker"])


async def test_a_rule_that_denies_the_gateway_its_commands_costs_nothing_once_it_is_mended(tmp_path: Path) -> None:
    passwords, rules = tmp_path / "passwords", tmp_path / "rules"
    _passwords(passwords, "secret")
    rules.write_text(RULES.replace("topic readwrite #", "topic write #", 1))
    rules.chmod(0o644)
    settings = {"allow_anonymous": "false", "password_file": str(passwords), "acl_file": str(rules)}
    async with _at(tmp_path, settings, {"mqtt": USER}) as (broker, gateway):
        # mosquitto takes the subscription, and delivers nothing: nobody can tell that from silence
        await _until(lambda: gateway.log("link_connected"))
        rules.write_text(RULES)
        broker.reload()
        assert '"code":201' in await _acknowledged(broker)


async def test_an_actor_whose_answers_are_denied_does_not_keep_others_from_theirs(tmp_path: Path) -> None:
    passwords, rules = tmp_path / "passwords", tmp_path / "rules"
    _passwords(passwords, "secret")
    rules.write_text(RULES.replace("user alice", "topic deny edge/gw1/ack/mute/#\nuser alice"))
    rules.chmod(0o644)
    settings = {"allow_anonymous": "false", "password_file": str(passwords), "acl_file": str(rules)}
    async with _at(tmp_path, settings, {"mqtt": USER}) as (broker, gateway):
        await _until(lambda: gateway.log("link_connected"))
        async with Client("127.0.0.1", broker.port, username="alice", password="secret") as client:
            await _register(client, "mute")
        # some brokers hang up over such an answer, and bring the command again
        await _until(lambda: gateway.log("answer_refused_by_broker"))
        assert '"code":201' in await _acknowledged(broker)
        rules.write_text(RULES)
        broker.reload()
        assert '"duplicate":true' in await _acknowledged(broker, "mute")


async def test_an_expired_certificate_is_told_and_healed_when_the_broker_has_a_new_one(tmp_path: Path) -> None:
    old, good = make_certificate(tmp_path / "old", end="20200102000000Z"), make_certificate(tmp_path / "good")
    certificate, key, trusted = tmp_path / "served.pem", tmp_path / "served.key", tmp_path / "trusted.pem"
    trusted.write_text(old.public.read_text() + good.public.read_text())
    _serve(old, certificate, key)
    settings = {"certfile": str(certificate), "keyfile": str(key)}
    async with _at(tmp_path, settings, {"mqtt.tls": {"enabled": True, "ca_file": str(trusted)}}) as (broker, gateway):
        await _until(lambda: any("expired" in line["reason"] for line in gateway.log("link_lost")))
        _serve(good, certificate, key)
        broker.reload()
        await _until(lambda: gateway.log("link_connected"))


async def test_an_expired_certificate_of_its_own_is_told_and_healed_when_it_has_a_new_one(tmp_path: Path) -> None:
    broker_has = make_certificate(tmp_path / "broker-has")
    old, good = make_certificate(tmp_path / "old", end="20200102000000Z"), make_certificate(tmp_path / "good")
    certificate, key, trusted = tmp_path / "shown.pem", tmp_path / "shown.key", tmp_path / "trusted.pem"
    trusted.write_text(old.public.read_text() + good.public.read_text())
    _serve(old, certificate, key)
    settings = {
        "certfile": str(broker_has.public),
        "keyfile": str(broker_has.key),
        "cafile": str(trusted),
        "require_certificate": "true",
    }
    broker_has.key.chmod(0o644)
    tls = {"enabled": True, "ca_file": str(broker_has.public), "cert_file": str(certificate), "key_file": str(key)}
    async with _at(tmp_path, settings, {"mqtt.tls": tls}) as (_, gateway):
        await _until(lambda: len(gateway.log("link_lost")) > 2)
        # mosquitto does not say why, so the reason says what that often means
        assert all("client certificate" in line["reason"] for line in gateway.log("link_lost"))
        assert not gateway.log("link_connected")
        _serve(good, certificate, key)
        await _until(lambda: gateway.log("link_connected"))
        await _until(lambda: [line["kind"] for line in gateway.log("outage_recorded")] == ["broker"])


def _serve(one: Certificate, certificate: Path, key: Path) -> None:
    shutil.copy(one.public, certificate)
    shutil.copy(one.key, key)
    key.chmod(0o644)
