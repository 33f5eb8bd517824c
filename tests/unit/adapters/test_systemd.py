import os
import time
from pathlib import Path

import pytest

from gateway.adapters.systemd import Systemd
from tests.support.notify_socket import NotifySocket, fields, notify_socket

AT_ONCE = 1.0
OWN = "own"
"""Stands for the id of this process, which is another one in each worker."""


@pytest.mark.parametrize("name", ["notify", None], ids=["at a path", "at an abstract address"])
def test_what_is_told_is_heard(tmp_path: Path, name: str | None) -> None:
    with notify_socket(tmp_path / name if name else None) as listening:
        supervisor = Systemd.of(listening.environment())
        supervisor.ready()
        supervisor.alive()
        supervisor.stopping()
        assert [listening.hear(AT_ONCE) for _ in range(3)] == ["READY=1", "WATCHDOG=1", "STOPPING=1"]


def test_a_reload_tells_when_it_began() -> None:
    with notify_socket() as listening:
        before = time.monotonic_ns() // 1_000
        Systemd.of(listening.environment()).reloading()
        told = fields(listening.hear(AT_ONCE) or "")
    assert told["RELOADING"] == "1"
    assert before <= int(told["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1_000


def test_a_status_of_several_lines_cannot_say_anything_but_a_status() -> None:
    with notify_socket() as listening:
        Systemd.of(listening.environment()).status("settings: wrong\nSTOPPING=1")
        assert listening.hear(AT_ONCE) == "STATUS=settings: wrong STOPPING=1"


def test_without_a_supervisor_nothing_is_told_and_nothing_watches() -> None:
    supervisor = Systemd.of({"WATCHDOG_USEC": "1000000"})
    supervisor.ready()
    assert supervisor.watchdog is None


def test_a_supervisor_that_is_gone_or_does_not_listen_disturbs_nobody() -> None:
    with notify_socket() as listening:
        supervisor = Systemd.of(listening.environment())
        for _ in range(10_000):  # more than a socket that nobody reads holds
            supervisor.status("x" * 1_000)
        assert listening.hear(AT_ONCE) is not None
    supervisor.ready()


@pytest.mark.parametrize(
    ("microseconds", "watched", "seconds"),
    [
        ("30000000", OWN, 30.0),
        ("30000000", None, 30.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_counts_for_the_process_that_it_watches(
    microseconds: str | None, watched: str | None, seconds: float | None
) -> None:
    listening = NotifySocket()
    listening.close()
    told = {"WATCHDOG_USEC": microseconds, "WATCHDOG_PID": str(os.getpid()) if watched == OWN else watched}
    environment = {name: value for name, value in told.items() if value is not None}
    assert Systemd.of(listening.environment() | environment).watchdog == seconds


def test_an_address_of_a_kind_that_is_not_known_is_left_alone() -> None:
    assert Systemd.of({"NOTIFY_SOCKET": "vsock:2:1234"}).address == ""
