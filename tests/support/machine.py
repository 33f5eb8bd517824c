"""A Debian machine of a test's own, with a real systemd: a container, booted from a tree that is made once."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.debian_tree import release, tree

BOOTING: Final = 60.0
PATIENCE: Final = 45.0
RUNNING: Final = ("running", "degraded")


def missing() -> str:
    """Why no machine can be booted here; empty where one can."""
    lacking = [name for name in ("debootstrap", "systemd-nspawn", "nsenter", "dpkg-deb") if shutil.which(name) is None]
    if os.geteuid():
        return "a machine can only be booted by root"
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    alone = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    return "namespaces of its own are not permitted here" if alone.returncode else ""


class Machine:
    """Booted when it is made."""

    def __init__(self, root: Path, codename: str = "") -> None:
        subprocess.run(["cp", "--archive", str(tree(codename or release())), str(root)], check=True)
        self.root = root
        (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        with (root.parent / "console.log").open("wb") as console:
            self._nspawn = subprocess.Popen(
                [
                    *("systemd-nspawn", "--directory", str(root), "--boot", "--private-network"),
                    *("--register=no", "--keep-unit", "--capability=all"),
                    "--system-call-filter=bpf perf_event_open",
                ],
                env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        try:
            self.wait("systemd to be up", self._is_up, within=BOOTING)
        except BaseException:
            self.close()
            raise

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command there; returns what it writes to either stream."""
        inside = ["nsenter", "--target", str(self._first_process()), "--all", "--", "/usr/bin/env", "-i"]
        done = subprocess.run(
            [*inside, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: exit status {done.returncode}\n{done.stdout}"
        return done.stdout

    def shell(self, script: str) -> str:
        """Run a script there; its first error ends it."""
        return self.run("sh", "-e", "-u", "-c", script)

    def write(self, path: str, text: str) -> None:
        """Write a file on its disk, which /run is not."""
        file = self.root / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def journal(self, unit: str) -> str:
        """What a unit has said, and systemd about it."""
        return self.run("journalctl", "--no-pager", "--output=cat", "--unit", unit)

    def wait(self, what: str, holds: Callable[[], bool], *, within: float = PATIENCE) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + within
        while not holds():
            lasts = self._nspawn.poll() is None and time.monotonic() < deadline
            assert lasts, f"waited in vain for {what}\n{self._console()}"
            time.sleep(0.1)

    def close(self) -> None:
        """Shut it down, and leave nothing of it."""
        # SIGTERM lets systemd-nspawn power the machine off; the signals that it passes on would orphan what is inside
        self._nspawn.send_signal(signal.SIGTERM)
        try:
            self._nspawn.wait(30)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def _is_up(self) -> bool:
        try:
            return self.run("systemctl", "is-system-running", check=False).strip() in RUNNING
        except OSError:
            return False

    def _first_process(self) -> int:
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        if not children:
            raise ProcessLookupError("the machine has not begun to boot")
        return int(children[0])

    def _console(self) -> str:
        return (self.root.parent / "console.log").read_bytes()[-4_000:].decode(errors="replace")
