"""Trees that machines are booted from: a bare Debian, and beside it what a guide fetches from the network there."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from zlib import crc32

REPOSITORY: Final = Path(__file__).parents[2]
TREES: Final = REPOSITORY / ".local" / "systemd"
BARE: Final = "systemd,systemd-sysv,dbus,iproute2"
"""What a small Debian with systemd has, and a tool for tests. No Python, no mosquitto: a guide has to name them."""
AT_HAND: Final = (
    ("--install-recommends", "mosquitto", "mosquitto-clients", "procps", "python3", "python3-venv"),
    ("--no-install-recommends", "pipx"),
)
"""Packages that apt has already fetched, as a machine of a test has no network."""
BUILD_TOOLS: Final = ("hatchling", "pip", "setuptools", "wheel")
"""What pip fetches besides the requirements, to build the gateway."""


def release() -> str:
    """The Debian that packages are built on, and for."""
    told = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return told["VERSION_CODENAME"]


def tree(codename: str) -> Path:
    """A Debian of this release, made when it is first wanted, which takes some minutes."""
    with _made(f"{codename}-{crc32(repr((BARE, AT_HAND)).encode()):08x}") as (made, making):
        if making is not None:
            debootstrap = ["debootstrap", "--variant=minbase", f"--include={BARE}", codename, str(making)]
            subprocess.run(debootstrap, check=True, stdout=subprocess.DEVNULL, timeout=600)
            _apt(making, "clean")
            _apt(making, "update")
            for packages in AT_HAND:
                _apt(making, "install", "--yes", "--download-only", *packages)
    return made


def wheels(python: str) -> Path:
    """A directory of wheels for this Python, with all that an installation from the sources asks pip for."""
    requirements = REPOSITORY / "systemd/deb/requirements.txt"
    recipe = requirements.read_bytes() + repr(BUILD_TOOLS).encode()
    with _made(f"wheels-{python}-{crc32(recipe):08x}") as (made, making):
        if making is not None:
            fitting = ("--only-binary", ":all:", "--python-version", python, "--dest", str(making))
            _pip_download(*fitting, "--no-deps", "--require-hashes", "--requirement", str(requirements))
            _pip_download(*fitting, *BUILD_TOOLS)
    return made


@contextmanager
def _made(name: str) -> Iterator[tuple[Path, Path | None]]:
    """Where something lies that is made once, and where to make it if it is missing: what is half made never counts."""
    made = TREES / name
    if made.exists():
        yield made, None
        return
    making = made.with_name(f"{name}.new")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    yield made, making
    making.rename(made)


def _apt(root: Path, *command: str) -> None:
    """Let this machine's apt, which knows its way to the network, work for the packages and lists of a tree."""
    places = (f"Dir={root}", f"Dir::State::status={root}/var/lib/dpkg/status", "APT::Sandbox::User=root")
    options = [part for place in places for part in ("--option", place)]
    _run(["apt-get", "--quiet", *options, *command])


def _pip_download(*arguments: str) -> None:
    _run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *arguments])


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
