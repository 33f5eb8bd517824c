"""What holds for the files of the project themselves."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

TOP = Path(__file__).parents[2]

REGISTRY_HOST = re.compile(
    r"py[p]i\.org|python[h]osted\.org|[n]pmjs\.(?:org|com)|deb\.[d]ebian\.org|crates\.[i]o|proxy\.[g]olang"
)
PRIVATE_PATH = re.compile(r"(?<![\w.~*-])/(?:home|root|work|Users)/[\w.]")
PINNED = re.compile(
    r"(?P<requirement>[\w.-]+(?:\[[\w,-]+\])?==[^\s;]+)(?: ; [^\\]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+"
)


def tracked_text() -> dict[str, str]:
    """The text of each file that is or would be committed."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=TOP, capture_output=True, text=True, check=True).stdout.split("\0")
    return {name: path.read_bytes().decode(errors="replace") for name in names if (path := TOP / name).is_file()}


def pinned(name: str) -> list[Requirement]:
    return [Requirement(match["requirement"]) for match in PINNED.finditer((TOP / name).read_text())]


def wanted(*, dev: bool) -> list[Requirement]:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    return [
        Requirement(line)
        for line in project["project"]["dependencies"] + (project["dependency-groups"]["dev"] if dev else [])
    ]


def test_no_file_names_a_registry_host_or_a_path_of_one_machine() -> None:
    found = [
        f"{name}: {match[0]}"
        for name, text in tracked_text().items()
        for pattern in (REGISTRY_HOST, PRIVATE_PATH)
        for match in pattern.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    "name",
    [
        "requirements.txt",
        "requirements-dev.txt",
        "requirements-kurrentdb.txt",
        "requirements-fuzz.txt",
        "systemd/deb/requirements.txt",
    ],
)
def test_requirements_are_pinned_with_hashes_and_nothing_else(name: str) -> None:
    lines = re.sub(r"^#.*\n", "", (TOP / name).read_text(), flags=re.MULTILINE)
    assert PINNED.sub("", lines).strip() == ""


@pytest.mark.parametrize(("name", "dev"), [("requirements.txt", False), ("requirements-dev.txt", True)])
def test_each_dependency_of_the_project_is_pinned_to_a_release_that_it_allows(name: str, *, dev: bool) -> None:
    versions = {pin.name: next(iter(pin.specifier)).version for pin in pinned(name)}
    wants = wanted(dev=dev)
    assert {want.name for want in wants} <= versions.keys()
    assert [str(want) for want in wants if not want.specifier.contains(versions[want.name])] == []


def test_the_tests_run_with_the_very_releases_that_are_deployed() -> None:
    assert {str(pin) for pin in pinned("requirements.txt")} <= {str(pin) for pin in pinned("requirements-dev.txt")}


def test_ci_runs_the_test_command_of_the_readme() -> None:
    command = "make test"
    assert re.search(rf"^{command}\b", (TOP / "README.md").read_text(), re.MULTILINE)
    assert command in (TOP / ".ci" / "run").read_text().splitlines()
