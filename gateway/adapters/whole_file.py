"""A file that is replaced as a whole: readers see the old one or the new one, also after a loss of power."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, parts: Iterable[bytes], mode: int, owner: tuple[int, int] | None = None) -> None:
    """Write it beside the old one, make it durable, and put it in its place.

    Args:
        path: of the file.
        parts: of its content.
        mode: its permissions, from the first byte on.
        owner: user and group; by default whoever writes.

    Raises:
        OSError: it cannot be written; the old one is still there.
    """
    new = path.with_suffix(".new")
    try:
        with open(new, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            # what was left behind has a mode of its own, and the umask counts, too
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
