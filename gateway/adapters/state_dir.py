"""The state directory: private to the gateway, and used by one daemon at a time."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError, StateError, StorageFull

LOCK_FILE: Final = "gateway.lock"

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Errors of a disk that may take something again later, without anybody's touching the gateway."""

_DIRECTORY_MODE: Final = 0o750
_FILE_MODE: Final = 0o640


@contextmanager
def claim_state_dir(directory: Path) -> Iterator[Path]:
    """Hold the state directory, made where it is missing, until the block ends or the process does.

    Raises:
        StateError: it cannot be made, secured or written, or another daemon holds it; the message names its process id.
        StorageFull: there is no room left for it, or it is read-only.
    """
    try:
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        _tighten(directory, _DIRECTORY_MODE)
        make_private_file(directory / LOCK_FILE)
        lock = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable(directory, error) from error
    try:
        _lock(lock, directory)
        yield directory
    finally:
        # the file stays: removing it would let a third daemon lock a new one while a second waits on this
        os.close(lock)


def show_life(directory: Path) -> None:
    """Leave a sign of life: it costs no more than a time stamp in the directory of the disk.

    Raises:
        OSError: the disk does not let it.
    """
    os.utime(directory / LOCK_FILE)


def last_sign_of_life(directory: Path) -> datetime | None:
    """When something in the state directory was last written or :func:`show_life` was called, UTC.

    Raises:
        StateError: the directory cannot be read.
    """
    try:
        times = [entry.stat().st_mtime for entry in os.scandir(directory)]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"the state directory {directory} cannot be used: {error}") from error
    return datetime.fromtimestamp(max(times), UTC) if times else None


def process_in(directory: Path) -> int | None:
    """The id of the process that holds the state directory; ``None`` where none does.

    Raises:
        StateError: the lock file cannot be read, or its holder has not written its id yet.
    """
    try:
        with (directory / LOCK_FILE).open("rb") as lock:
            try:
                # shared, and only for a moment: it cannot be asked for in another way
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StateError(f"who uses the state directory {directory} cannot be found out: {error}") from error
    return None


def make_private_file(path: Path) -> None:
    """Make sure that the file exists and that nobody outside the gateway's group can open it.

    Raises:
        OSError: it cannot be made or secured.
    """
    path.touch(mode=_FILE_MODE)
    _tighten(path, _FILE_MODE)


def _tighten(path: Path, widest: int) -> None:
    mode = path.stat().st_mode & 0o7777
    if mode & ~widest:
        path.chmod(mode & widest)


def _lock(lock: int, directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        raise StateError(f"the state directory {directory} is in use by the gateway with process id {holder}") from None
    own = f"{os.getpid()}\n".encode()
    try:
        # in this order: on a full disk, the room of the last holder's id must not be given away first
        os.pwrite(lock, own, 0)
        os.ftruncate(lock, len(own))
    except OSError as error:
        raise _unusable(directory, error) from error


def no_room(place: Path, problem: object) -> StorageFull:
    """What is told of a disk that takes nothing more."""
    return StorageFull(f"{place} cannot be written, because the disk is full or read-only: {problem}")


def _unusable(directory: Path, error: OSError) -> GatewayError:
    if error.errno in NO_ROOM:
        return no_room(directory, error)
    return StateError(f"the state directory {directory} cannot be used: {error}")
