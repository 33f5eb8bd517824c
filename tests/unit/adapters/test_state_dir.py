import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.adapters.state_dir import LOCK_FILE, claim_state_dir, make_private_file
from gateway.errors import StateError, StorageFull

HOLD = """
import sys
from pathlib import Path
from gateway.adapters.state_dir import claim_state_dir
with claim_state_dir(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_missing_state_directory_is_made_for_the_gateway_alone(tmp_path: Path) -> None:
    with claim_state_dir(tmp_path / "lib" / "gateway") as directory:
        assert mode_of(directory) == 0o750
        assert mode_of(directory / LOCK_FILE) == 0o640


def test_a_state_directory_that_others_could_read_is_tightened(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with claim_state_dir(tmp_path):
        assert mode_of(tmp_path) == 0o750


def test_a_stricter_mode_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with claim_state_dir(tmp_path):
        assert mode_of(tmp_path) == 0o700


def test_a_private_file_keeps_its_content_and_loses_the_modes_that_open_it_to_others(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    path.chmod(0o666)
    make_private_file(path)
    assert (path.read_text(), mode_of(path)) == ("content", 0o640)


def test_the_lock_file_carries_the_process_id(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_text("4194304999\n")
    with claim_state_dir(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"


def test_a_second_daemon_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(StateError, match=f"in use by the gateway with process id {holder.pid}$"),
            claim_state_dir(tmp_path),
        ):
            pass
        holder.kill()
    # the lock died with its holder
    with claim_state_dir(tmp_path):
        pass


def test_a_state_directory_can_be_claimed_again_once_it_is_released(tmp_path: Path) -> None:
    with claim_state_dir(tmp_path):
        pass
    with claim_state_dir(tmp_path) as directory:
        assert directory == tmp_path


def test_a_state_directory_that_is_a_file_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be used"), claim_state_dir(tmp_path / "file"):
        pass


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, StorageFull), (errno.EROFS, StorageFull), (errno.EIO, StateError)]
)
def test_a_disk_that_takes_nothing_for_now_is_told_from_one_that_somebody_must_see_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(error, match=str(tmp_path)), claim_state_dir(tmp_path):
        pass


def test_a_full_disk_has_room_for_the_next_holder_where_the_last_one_stood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is given back to a full disk is taken by somebody else at once."""
    with claim_state_dir(tmp_path):
        pass
    sizes: list[int] = []
    pwrite = os.pwrite

    def write(file: int, content: bytes, offset: int) -> int:
        sizes.append(os.fstat(file).st_size)
        return pwrite(file, content, offset)

    monkeypatch.setattr(os, "pwrite", write)
    with claim_state_dir(tmp_path):
        assert sizes == [len(f"{os.getpid()}\n")]
        assert (tmp_path / LOCK_FILE).read_text() == f"{os.getpid()}\n"
