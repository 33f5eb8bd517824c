import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.adapters.sqlite_file import connect_bystander, connect_writer
from gateway.cli.exit_status import Exit
from gateway.domain.device_events import DeviceConnected
from tests.support.command_line import Run
from tests.support.event_log import read_log
from tests.support.gateway_state import AT, GatewayState


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"


def test_the_copy_of_a_stopped_gateway_has_every_event_and_leaves_no_trace(
    on_state: Run, pump: GatewayState, copy: Path
) -> None:
    before = {path.name: path.read_bytes() for path in pump.directory.iterdir()}
    ran = on_state("backup", copy)
    assert (ran.status, ran.out, ran.err.split()[-1]) == (Exit.OK, f"{copy}\n", "3")
    assert {path.name: path.read_bytes() for path in pump.directory.iterdir()} == before
    assert sorted(path.name for path in copy.parent.iterdir()) == ["copy.db", "gateway.toml", "state"]
    assert read_log(copy) == read_log(pump.directory / "gateway.db")


def test_the_copy_has_what_stands_only_in_the_write_ahead_log(on_state: Run, pump: GatewayState, copy: Path) -> None:
    database = pump.directory / "gateway.db"
    with closing(connect_writer(database)) as running:
        running.execute("INSERT INTO cursors VALUES ('written just now', 7)")
        assert on_state("backup", copy, "--json").objects[0]["position"] == 3
        running.execute("INSERT INTO cursors VALUES ('too late', 8)")
    with closing(sqlite3.connect(copy)) as found:
        assert found.execute("SELECT name FROM cursors").fetchall() == [("written just now",)]


def test_in_a_directory_the_copy_is_named_after_gateway_and_time(
    on_state: Run, pump: GatewayState, tmp_path: Path
) -> None:
    directory = tmp_path / "copies"
    directory.mkdir()
    told = on_state("backup", directory, "--json").objects[0]
    [made] = directory.iterdir()
    assert told == {"file": str(made), "position": 3, "bytes": made.stat().st_size}
    assert made.match("gateway-gw1-20??????T??????Z.db")
    assert pump.directory.exists()


def test_only_owner_and_group_can_read_the_copy(on_state: Run, pump: GatewayState, copy: Path) -> None:
    assert on_state("backup", copy).status == Exit.OK
    assert copy.stat().st_mode & 0o777 == 0o640
    assert pump.directory.exists()


def test_a_restored_copy_is_a_gateways_state_again(on_state: Run, pump: GatewayState, copy: Path) -> None:
    on_state("backup", copy)
    database = pump.directory / "gateway.db"
    saved = read_log(database)
    pump.take(DeviceConnected(at=AT), command_id="after the backup")
    pump.flush()
    shutil.copy(copy, database)
    assert on_state("verify").status == Exit.NO
    assert on_state("rebuild").status == Exit.OK
    assert on_state("verify").status == Exit.OK
    assert read_log(database) == saved
    assert on_state("outcome", "after the backup").status == Exit.NO
    pump.take(DeviceConnected(at=AT), command_id="goes on")
    assert len(read_log(database)) == 4


def test_no_epoch_is_given_twice_after_a_restore(on_state: Run, pump: GatewayState, copy: Path) -> None:
    on_state("backup", copy)

    def epoch(path: Path) -> int:
        with closing(sqlite3.connect(path)) as found:
            return int(found.execute("SELECT value FROM identity WHERE name = 'epoch'").fetchone()[0])

    assert epoch(copy) >= epoch(pump.directory / "gateway.db") + 1_000_000


def test_a_newer_copy_takes_the_place_of_the_older_one(on_state: Run, pump: GatewayState, copy: Path) -> None:
    on_state("backup", copy)
    pump.take(DeviceConnected(at=AT), command_id="c-9")
    assert on_state("backup", copy, "--json").objects[0]["position"] == 4


def test_a_copy_that_cannot_be_made_leaves_the_older_one(on_state: Run, pump: GatewayState, copy: Path) -> None:
    on_state("backup", copy)
    kept = copy.read_bytes()
    database = pump.directory / "gateway.db"
    with closing(sqlite3.connect(database)) as found:
        (event_id,) = found.execute("SELECT event_id FROM events").fetchone()
    content = database.read_bytes()
    # once in its table, once in an index: SQLite reads the one without a complaint
    assert content.count(event_id) == 2
    database.write_bytes(content.replace(event_id, bytes(16), 1))
    ran = on_state("backup", copy)
    assert (ran.status, "not whole" in ran.err) == (Exit.SETTINGS, True)
    assert copy.read_bytes() == kept
    assert sorted(path.name for path in copy.parent.iterdir()) == ["copy.db", "gateway.toml", "state"]


def test_a_gateway_that_starts_and_stops_meanwhile_makes_no_copy_of_two_times(
    on_state: Run, pump: GatewayState, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def connect(path: Path) -> sqlite3.Connection:
        connection = connect_bystander(path)
        if not opened:
            connection.execute("SELECT count(*) FROM events").fetchall()
            pump.take(DeviceConnected(at=AT), command_id="meanwhile")
        opened.append(path)
        return connection

    monkeypatch.setattr("gateway.adapters.sqlite_backup.connect_bystander", connect)
    assert on_state("backup", copy, "--json").objects[0]["position"] == 4
    assert len(opened) == 2


@pytest.mark.parametrize(("target", "reason"), [("state/gateway.db", "the database itself"), ("no/where", "No such")])
def test_where_a_copy_cannot_go_it_is_said_and_nothing_is_touched(
    on_state: Run, pump: GatewayState, tmp_path: Path, target: str, reason: str
) -> None:
    before = (pump.directory / "gateway.db").read_bytes()
    ran = on_state("backup", tmp_path / target)
    assert (ran.status, reason in ran.err) == (Exit.SETTINGS, True)
    assert (pump.directory / "gateway.db").read_bytes() == before


def test_without_a_database_there_is_nothing_to_copy(on_state: Run, state: GatewayState, copy: Path) -> None:
    (state.directory / "gateway.db").unlink()
    assert on_state("backup", copy).status == Exit.SETTINGS
    assert not copy.exists()
