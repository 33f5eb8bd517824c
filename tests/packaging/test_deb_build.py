"""What the build of the Debian package refuses before it does anything."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

BUILD: Final = Path(__file__).parents[2] / "systemd/deb/build"


def test_a_python_that_is_not_debians_own_is_refused(tmp_path: Path) -> None:
    build, python = tmp_path / "systemd/deb/build", tmp_path / ".venv/bin/python"
    build.parent.mkdir(parents=True)
    python.parent.mkdir(parents=True)
    shutil.copy(BUILD, build)
    python.write_text("#!/bin/sh\necho 3.99\n")
    python.chmod(0o755)
    done = subprocess.run([build], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "3.99" in done.stderr
    assert "/usr/bin/python3" in done.stderr
    assert not (tmp_path / "dist").exists()
