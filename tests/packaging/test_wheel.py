"""The wheel, built from this tree, installed into an environment of its own, and run there."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

from gateway import __version__

TOP = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory, cwd=TOP)
    [built] = directory.iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; the dependencies come from the one that runs the tests."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, with_pip=False)
    purelib = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(directory)}))
    # a path file found through another one is not read: this checkout, installed there as editable, stays out
    (purelib / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = (sys.executable, "-m", "pip", "--isolated", "--python", directory / "bin" / "python")
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", "--ignore-installed", wheel, cwd=directory)
    return directory


def test_the_wheel_holds_every_module_and_the_type_marker_and_nothing_else_of_the_tree(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {path.relative_to(TOP).as_posix() for path in (TOP / "gateway").rglob("*.py")}
    assert packed == modules | {"gateway/py.typed"}


def test_the_installed_command_runs_the_installed_package(environment: Path) -> None:
    where = run(environment / "bin" / "python", "-c", "import gateway; print(gateway.__file__)", cwd=environment)
    assert Path(where.strip()).is_relative_to(environment)
    version = run(environment / "bin" / "edge-gateway", "--version", cwd=environment)
    assert version == f"edge-gateway {__version__}\n"
