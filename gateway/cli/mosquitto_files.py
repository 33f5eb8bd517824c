"""Files for mosquitto, with the owner that it wants."""

import os
import pwd
from pathlib import Path

from gateway.adapters.whole_file import replace_file


def install(path: Path, content: bytes, *, is_public: bool = False) -> None:
    """Replace a file that mosquitto reads, in a directory that it can enter.

    Args:
        path: of the file.
        content: of the file.
        is_public: whether it holds nothing that the broker does not tell everybody, so that the doctor may read it.

    Raises:
        OSError: it cannot be written.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True)
        # whatever the umask
        path.parent.chmod(0o755)
    # mosquitto warns of files that others can read or that are somebody else's, and will refuse them one day
    replace_file(path, (content,), 0o644 if is_public else 0o640, _mosquitto() if os.geteuid() == 0 else None)


def _mosquitto() -> tuple[int, int] | None:
    """User and group as which it reads its files again; ``None`` where it is not installed."""
    try:
        user = pwd.getpwnam("mosquitto")
    except KeyError:
        return None
    return user.pw_uid, user.pw_gid
