"""A state directory that cannot be used: the start ends with a status and says what to do, and overwrites nothing."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from gateway.domain.device_events import DeviceRegistered
from tests.support.gateway_process import REPOSITORY, GatewayProcess
from tests.support.gateway_state import AT, GatewayState

CONFIGURATION = 78
AS_OTHERS_ARE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
"""The administrator is let in everywhere; without these rights he is a user like any other."""

pytestmark = pytest.mark.embedded


def run(config: Path, *prefix: str) -> "subprocess.CompletedProcess[str]":
    command = [*prefix, sys.executable, "-m", "gateway", "run", "--config", str(config)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=20, check=False)


def contents(directory: Path) -> Mapping[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir() if file.name != "gateway.lock"}


@pytest.fixture
def state(tmp_path: Path) -> GatewayState:
    state = GatewayState(tmp_path)
    state.take(DeviceRegistered(at=AT, model="T-1000"))
    state.flush()
    return state


def execute(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(statement)


def truncate(database: Path) -> None:
    os.truncate(database, database.stat().st_size - 4_096)


def replace_by_another(database: Path) -> None:
    database.unlink()
    execute(database, "CREATE TABLE notes (text TEXT)")


def lose_all_but_the_wal(database: Path) -> None:
    database.with_name(f"{database.name}-wal").write_bytes(database.read_bytes())
    os.truncate(database, 0)


SPOILED: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "garbage": (lambda path: path.write_bytes(b"\xa5" * 20_000), "restore gateway.db from a backup"),
    "truncated": (truncate, "restore gateway.db from a backup"),
    "emptied beside its write-ahead log": (lose_all_but_the_wal, "gateway.db-wal is not"),
    "of a newer version": (lambda path: execute(path, "PRAGMA user_version = 99"), "install the newer gateway again"),
    "of another application": (replace_by_another, "name another gateway.state_dir"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_database_that_cannot_be_used_is_left_alone_and_the_way_out_is_told(state: GatewayState, how: str) -> None:
    spoil, way_out = SPOILED[how]
    spoil(state.directory / "gateway.db")
    before = contents(state.directory)
    refused = run(state.config)
    assert refused.returncode == CONFIGURATION, refused.stderr
    assert str(state.directory / "gateway.db") in refused.stderr
    assert way_out in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert contents(state.directory) == before


def forbid_writing(directory: Path) -> None:
    directory.chmod(0o500)


def give_away(directory: Path) -> None:
    os.chown(directory, 12_345, 12_345)
    # open to everybody, so that it is the owner who counts
    directory.chmod(0o777)


def make_the_database_unwritable(directory: Path) -> None:
    (directory / "gateway.db").chmod(0o400)


FORBIDDEN: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "not writable": (forbid_writing, "Permission denied"),
    "owned by another": (give_away, "Operation not permitted"),
    "with a database that is not writable": (make_the_database_unwritable, "Permission denied"),
}


@pytest.mark.parametrize("how", FORBIDDEN)
def test_a_state_directory_that_the_user_may_not_use_is_named(state: GatewayState, how: str) -> None:
    forbid, reason = FORBIDDEN[how]
    is_administrator = os.geteuid() == 0
    if how == "owned by another" and not is_administrator:
        pytest.skip("only the administrator can give a directory to another user")
    for file in state.directory.glob("gateway.lock"):
        file.unlink()
    forbid(state.directory)
    refused = run(state.config, *AS_OTHERS_ARE if is_administrator else ())
    assert refused.returncode == CONFIGURATION, refused.stderr
    assert str(state.directory) in refused.stderr
    assert reason in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    state.directory.chmod(0o750)


def test_a_state_directory_below_one_that_is_not_writable_is_named(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    parent.mkdir(mode=0o500)
    config = tmp_path / "gateway.toml"
    config.write_text(f'[gateway]\nstate_dir = "{parent}/missing/state"\n')
    refused = run(config, *AS_OTHERS_ARE if os.geteuid() == 0 else ())
    assert refused.returncode == CONFIGURATION
    assert f"{parent}/missing" in refused.stderr
    assert "Permission denied" in refused.stderr


def test_a_second_gateway_on_a_state_directory_ends_and_the_first_goes_on(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, port=1)
    gateway.launch()
    try:
        while not gateway.log("gateway_started"):
            time.sleep(0.02)
        second = gateway.run("run")
        assert second.returncode == CONFIGURATION
        assert f"in use by the gateway with process id {gateway.process_id}" in second.stderr
        assert gateway.terminate() == 0
    finally:
        gateway.close()
