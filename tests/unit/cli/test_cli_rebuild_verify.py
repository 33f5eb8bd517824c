"""The subcommands that make the read cache anew, and that compare it with the log."""

import fcntl
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.state_dir import LOCK_FILE
from gateway.domain.device_events import AlarmCleared, DeviceRegistered
from tests.support.command_line import Run
from tests.support.gateway_state import AT, GatewayState

HOLD = """
import signal, sys
from pathlib import Path
from gateway.adapters.state_dir import claim_state_dir
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
with claim_state_dir(Path(sys.argv[1])):
    print("held", flush=True)
    print(int(signal.sigwait([signal.SIGUSR1])), flush=True)
"""


@pytest.fixture(autouse=True)
def _own_signal_handlers() -> Any:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


def edit(cache: Path, table: str, key: str, **fields: object) -> None:
    """Change a document of the file, or take it out where no fields are given."""
    found = json.loads(cache.read_bytes())
    [number] = [number for number, document in found[table].items() if document["id"] == key]
    if fields:
        found[table][number] |= fields
    else:
        del found[table][number]
    cache.write_text(json.dumps(found))


def test_an_equal_cache_has_no_differences(on_state: Run, pump: GatewayState) -> None:
    pump.flush()
    ran = on_state("verify")
    assert (ran.status, ran.out) == (0, "")


def test_the_cache_is_compared_as_of_its_checkpoint(on_state: Run, pump: GatewayState) -> None:
    pump.flush()
    pump.take(AlarmCleared(at=AT, code="hot"), command_id="c-4")
    assert on_state("verify").status == 0


def test_a_changed_field_is_told(on_state: Run, pump: GatewayState) -> None:
    pump.flush()
    edit(pump.cache, "devices", "pump-7", model="T-9", firmware="1.0")
    ran = on_state("verify", "--json")
    assert ran.status == 1
    assert ran.objects == [
        {"collection": "devices", "id": "pump-7", "field": "firmware", "expected": None, "found": "1.0"},
        {"collection": "devices", "id": "pump-7", "field": "model", "expected": "T-1000", "found": "T-9"},
    ]
    assert on_state("verify").lines == [
        ["collection", "id", "field", "expected", "found"],
        ["devices", "pump-7", "firmware", "-", "1.0"],
        ["devices", "pump-7", "model", "T-1000", "T-9"],
    ]


def test_a_missing_document_is_told(on_state: Run, pump: GatewayState) -> None:
    pump.flush()
    edit(pump.cache, "alarms", "pump-7/hot")
    assert on_state("verify", "--json").objects == [
        {"collection": "alarms", "id": "pump-7/hot", "field": "id", "expected": "pump-7/hot", "found": None}
    ]


def test_a_document_that_should_not_be_is_told(on_state: Run, pump: GatewayState) -> None:
    pump.flush()
    edit(pump.cache, "counts", "devices/model/T-1000", id="devices/model/T-1")
    assert [(one["expected"], one["found"]) for one in on_state("verify", "--json").objects] == [
        (None, "devices/model/T-1"),
        ("devices/model/T-1000", None),
    ]


@pytest.mark.usefixtures("pump")
def test_a_cache_that_cannot_be_used_is_not_equal(on_state: Run) -> None:
    ran = on_state("verify")
    assert (ran.status, ran.out) == (1, "")
    assert "there is none" in ran.err


def test_rebuilding_makes_the_cache_what_the_log_says(on_state: Run, pump: GatewayState) -> None:
    pump.flush()
    edit(pump.cache, "devices", "pump-7", model="T-9")
    pump.take(DeviceRegistered(at=AT, model="T-800"), device="fan-1", command_id="c-9")
    ran = on_state("rebuild")
    assert (ran.status, ran.out, ran.err) == (0, "", "the read cache is rebuilt from 4 events\n")
    assert on_state("verify").status == 0
    checkpoint = json.loads(pump.cache.read_bytes())["checkpoint"]["1"]
    assert checkpoint["position"] == 4


def test_the_cache_of_an_empty_log_is_rebuilt_as_an_empty_one(on_state: Run) -> None:
    assert on_state("rebuild").status == 0
    assert on_state("verify").status == 0


@pytest.mark.usefixtures("pump")
def test_progress_is_told_while_rebuilding(on_state: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.rebuild.PROGRESS_INTERVAL", 0.0)
    assert "3 of 3 events\n" in on_state("rebuild").err


def test_a_holder_that_is_not_known_yet_is_an_error(on_state: Run, pump: GatewayState) -> None:
    with (pump.directory / LOCK_FILE).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = on_state("rebuild")
    assert (ran.status, pump.cache.exists()) == (78, False)


def test_a_gateway_that_runs_is_told_to_rebuild(on_state: Run, pump: GatewayState) -> None:
    command = [sys.executable, "-c", HOLD, str(pump.directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            ran = on_state("rebuild")
            assert ran.status == 0
            assert f"process id {holder.pid}" in ran.err
            assert holder.stdout.readline() == f"{int(signal.SIGUSR1)}\n"
        finally:
            holder.kill()
    assert not pump.cache.exists()
