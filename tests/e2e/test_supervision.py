"""What systemd hears of the daemon, and what it does when it is asked to reload."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.gateway_process import GatewayProcess, Sections
from tests.support.notify_socket import NotifySocket, fields, notify_socket
from tests.support.technician import Technician, technician

WATCHDOG = 1.5
DECIDERS = ["gateway.domain:DECIDERS", "tests.support.blocking_decider:BLOCKING"]
SETTINGS: Sections = {"domain": {"deciders": DECIDERS}}


@pytest.fixture
def systemd() -> Iterator[NotifySocket]:
    with notify_socket() as listening:
        yield listening


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """One that does not run yet."""
    one = Broker(tmp_path / "broker")
    yield one
    one.stop()


@pytest.fixture
def gateway(tmp_path: Path, broker: Broker, systemd: NotifySocket) -> Iterator[GatewayProcess]:
    """One that does not run yet, under the eyes of systemd."""
    one = GatewayProcess(tmp_path / "gateway", broker.port, SETTINGS)
    one.environment = systemd.environment(WATCHDOG)
    yield one
    one.close()


def is_ready(message: str) -> bool:
    return message == "READY=1"


def is_fed(message: str) -> bool:
    return message == "WATCHDOG=1"


def is_status(text: str, message: str) -> bool:
    return text in fields(message).get("STATUS", "")


def change(gateway: GatewayProcess, old: str, new: str) -> None:
    text = gateway.config.read_text()
    assert old in text
    gateway.config.write_text(text.replace(old, new))


def reload(gateway: GatewayProcess, systemd: NotifySocket) -> None:
    gateway.signal(signal.SIGHUP)
    begun = systemd.until(lambda message: message.startswith("RELOADING=1"))
    assert int(fields(begun)["MONOTONIC_USEC"]) > 0
    systemd.until(is_ready)


async def code_of(tech: Technician, actor: str, id: str) -> int:
    body = await tech.send(actor, "pump-7", "configure", {"properties": {"rpm": 1}}, id=id)
    return int(body["code"])


async def test_it_is_ready_and_fed_without_a_broker_and_says_what_is_away(
    gateway: GatewayProcess, broker: Broker, systemd: NotifySocket
) -> None:
    gateway.launch()
    systemd.until(is_ready)
    systemd.until(lambda message: is_status("broker away since 2", message))
    for _ in range(4):
        systemd.until(is_fed)
    broker.start()
    systemd.until(lambda message: is_status("broker connected; event store there", message))


@pytest.mark.embedded
async def test_a_store_that_is_away_does_not_starve_the_watchdog_and_what_waits_is_counted(
    broker: Broker, systemd: NotifySocket, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    store = {"url": f"esdb://127.0.0.1:{port}?Tls=false", "patience": 0.1}
    gateway = GatewayProcess(tmp_path / "gateway", broker.port, {"event_store": store})
    gateway.environment = systemd.environment(WATCHDOG)
    broker.start()
    try:
        gateway.start()
        async with technician(broker.port) as tech:
            await tech.publish("cmd/pump-7/pump-7/register", {"command_id": "c-1", "data": {"model": "T-1000"}})
            assert (await tech.ack("c-1"))["code"] == 202
        systemd.until(lambda message: is_status("event store away since 2", message))
        for _ in range(4):
            systemd.until(is_fed)
        assert "1 commands parked" in systemd.heard[-1]
        change(gateway, "[limits]", "[limits]\nparked_per_actor = 1")
        reload(gateway, systemd)
        async with technician(broker.port) as tech:
            await tech.publish("cmd/pump-7/pump-7/connect", {"command_id": "c-2"})
            assert (await tech.ack("c-2"))["code"] == 503
    finally:
        gateway.close()


async def test_a_blocked_loop_starves_the_watchdog(
    gateway: GatewayProcess, broker: Broker, systemd: NotifySocket
) -> None:
    broker.start()
    gateway.start()
    systemd.until(is_fed)
    async with technician(broker.port) as tech:
        await tech.publish("cmd/alice/pump-7/block", {"command_id": "c-1"})
        fed, quiet = 0, False
        while not quiet and fed < 10:
            fed += 1
            quiet = systemd.hear(WATCHDOG) is None
    assert quiet
    gateway.kill()


async def test_the_end_is_told_before_the_work_is_finished(
    gateway: GatewayProcess, broker: Broker, systemd: NotifySocket
) -> None:
    broker.start()
    gateway.start()
    assert gateway.terminate() == 0
    systemd.until(lambda message: message == "STOPPING=1")


async def test_a_reload_gives_and_takes_rights_at_once_and_names_what_needs_a_restart(
    gateway: GatewayProcess, broker: Broker, systemd: NotifySocket
) -> None:
    broker.start()
    gateway.start()
    async with technician(broker.port) as tech:
        await tech.send("pump-7", "pump-7", "register", {"model": "T-1000"})
        assert (await code_of(tech, "alice", "c-1"), await code_of(tech, "bob", "c-2")) == (200, 403)
        change(gateway, '"alice"', '"bob"')
        change(gateway, 'level = "info"', 'level = "debug"')
        change(gateway, "backoff_max = 1.0", "backoff_max = 2.0")
        change(gateway, "commands_per_second = 0.0", "commands_per_second = 0.01\nburst = 2")
        reload(gateway, systemd)
        assert (await code_of(tech, "alice", "c-3"), await code_of(tech, "bob", "c-4")) == (403, 204)
        # a refusal sticks to its id, whoever has become an operator since
        assert await code_of(tech, "bob", "c-2") == 403
        assert await code_of(tech, "bob", "c-5") == 429
    [told] = gateway.log("settings_reloaded")
    assert told["changed"] == ["limits.burst", "limits.commands_per_second", "log.level", "operators"]
    [told] = gateway.log("settings_need_a_restart")
    assert told["keys"] == ["mqtt.backoff_max"]
    settled = {line["command_id"] for line in gateway.log("command_settled")}
    assert ("c-1" in settled, "c-4" in settled) == (False, True)


async def test_settings_with_an_error_change_nothing_and_the_status_says_so_until_they_are_right(
    gateway: GatewayProcess, broker: Broker, systemd: NotifySocket
) -> None:
    broker.start()
    gateway.start()
    right = gateway.config.read_text()
    change(gateway, '"alice"', '"bob"')
    change(gateway, "backoff_max", "backof_max")
    reload(gateway, systemd)
    systemd.until(lambda message: is_status("settings not reloaded", message))
    [told] = gateway.log("settings_not_reloaded")
    assert "did you mean 'backoff_max'?" in told["errors"][0]
    async with technician(broker.port) as tech:
        await tech.send("pump-7", "pump-7", "register", {"model": "T-1000"})
        assert (await code_of(tech, "alice", "c-1"), await code_of(tech, "bob", "c-2")) == (200, 403)
    gateway.config.write_text(right)
    reload(gateway, systemd)
    systemd.until(lambda message: "STATUS" in fields(message) and not is_status("not reloaded", message))


async def test_deciders_that_the_next_start_could_not_import_are_refused(
    gateway: GatewayProcess, broker: Broker, systemd: NotifySocket
) -> None:
    broker.start()
    gateway.start()
    change(gateway, "blocking_decider:BLOCKING", "no_such_decider:ANY")
    reload(gateway, systemd)
    [told] = gateway.log("settings_not_reloaded")
    assert "no_such_decider" in told["errors"][0]
