"""What systemd hears of the daemon, and what it does when it is asked to reload."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import Broker
from tests.support.gateway_process import GatewayProcess, Sections
from tests.support.notify_socket import NotifySocket, fields, notify_socket
from tests.support.technician import Technician

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


async def code_of(tech: Technician, actor: str, device: str, id_: str) -> int:
    code: int = (await tech.send(actor, device, "configure", {"properties": {"rpm": 1}}, id=id_))["code"]
    return code


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
