import io
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from gateway import log as gateway_log
from gateway.journal import Journal, is_journal


class FakeJournal:
    """Binds the socket, and reads datagrams as journald does: as bytes, or out of a sealed file."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(0)

    def entry(self) -> dict[str, list[str]]:
        payload, files, _, _ = socket.recv_fds(self.socket, 1 << 20, 1)
        for file in files:
            payload = os.pread(file, 1 << 24, 0)
            with pytest.raises(PermissionError):
                os.write(file, b"forged")
            os.close(file)
        return fields(payload)


def fields(payload: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    while payload:
        line, _, rest = payload.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if equals:
            payload = rest
        else:
            length = int.from_bytes(rest[:8], "little")
            value, end, payload = rest[8 : 8 + length], rest[8 + length : 9 + length], rest[9 + length :]
            assert end == b"\n"
        found.setdefault(name.decode(), []).append(value.decode())
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journald(path: Path) -> Iterator[FakeJournal]:
    fake = FakeJournal(path)
    yield fake
    fake.socket.close()


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    one = Journal(path)
    yield one
    one.close()


@pytest.fixture
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_each_field_can_be_searched_for(journald: FakeJournal, journal: Journal) -> None:
    journal.info(level="info", event="command_refused", command_id="c-77", device="pump-7", code=409, message="no")
    assert journald.entry() == {
        "MESSAGE": ["command_refused command_id='c-77' device='pump-7' code='409' message='no'"],
        "PRIORITY": ["6"],
        "SYSLOG_IDENTIFIER": ["edge-gateway"],
        "EVENT": ["command_refused"],
        "COMMAND_ID": ["c-77"],
        "DEVICE": ["pump-7"],
        "CODE": ["409"],
        "TEXT": ["no"],
    }


def test_a_batch_is_found_by_each_of_its_commands(journald: FakeJournal, journal: Journal) -> None:
    journal.info(level="info", event="command_fault", command_id=["c-1", "c-2"])
    assert journald.entry()["COMMAND_ID"] == ["c-1", "c-2"]


@pytest.mark.parametrize("value", ["x\nPRIORITY=0\nDEVICE=other", "\n", "a\ud800", "", "ü"])
def test_no_value_can_forge_a_field(journald: FakeJournal, journal: Journal, value: str) -> None:
    journal.info(level="error", event="command_refused", actor=value)
    entry = journald.entry()
    assert entry["ACTOR"] == [value.encode(errors="backslashreplace").decode()]
    assert entry["PRIORITY"] == ["3"]
    assert "DEVICE" not in entry


@pytest.mark.parametrize("name", ["_PID", "9lives", "with space", "a=b", "x" * 65, "ü", "level"])
def test_a_name_that_the_journal_does_not_take_is_left_out(journald: FakeJournal, journal: Journal, name: str) -> None:
    journal.info(**{"event": "odd", name: "value"})
    assert set(journald.entry()) == {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "EVENT"}


def test_an_event_that_fits_no_datagram_goes_as_a_sealed_file(journald: FakeJournal, journal: Journal) -> None:
    journal.info(level="error", event="command_fault", exception="x" * 1_000_000)
    assert journald.entry()["EXCEPTION"] == ["x" * 1_000_000]
    assert not journal.lost


def test_a_journal_that_is_away_holds_nothing_up_and_is_told_later_what_it_missed(path: Path, journal: Journal) -> None:
    journal.info(level="info", event="first")
    journal.info(level="info", event="second")
    journald = FakeJournal(path)
    journal.info(level="info", event="third")
    missed = journald.entry()
    assert (missed["EVENT"], missed["LINES"]) == (["log_lines_lost"], ["2"])
    assert journald.entry()["EVENT"] == ["third"]
    journald.socket.close()


def test_a_journal_that_takes_nothing_holds_nothing_up(journald: FakeJournal, journal: Journal) -> None:
    while not journal.lost:
        journal.info(level="info", event="flood", text="x" * 10_000)
    assert journald.entry()["EVENT"] == ["flood"]


def test_only_the_stream_that_systemd_names_is_the_journals(tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w") as stream, (tmp_path / "other").open("w") as other:
        status = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(stream, environ)
        assert not is_journal(other, environ)
        assert not is_journal(stream, {})
        assert not is_journal(io.StringIO(), environ)


@pytest.mark.usefixtures("_restored")
def test_started_by_systemd_the_log_goes_to_the_journal(
    journald: FakeJournal, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.log.Journal", lambda: journal)
    with (tmp_path / "stderr").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        gateway_log.configure("info", "auto", stream)
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            structlog.get_logger().exception("command_fault", device="pump-7")
        entry = journald.entry()
        assert (entry["DEVICE"], entry["EVENT"], entry["PRIORITY"]) == (["pump-7"], ["command_fault"], ["3"])
        assert "ZeroDivisionError" in entry["EXCEPTION"][0]
        assert "ZeroDivisionError" in entry["MESSAGE"][0]
        gateway_log.configure("info", "json", stream)
        structlog.get_logger().info("in_a_line")
        stream.seek(0)
        assert '"event":"in_a_line"' in stream.read()
