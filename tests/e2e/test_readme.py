"""The tour of the README, line by line, as a newcomer types it."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.support.gateway_process import REPOSITORY
from tests.support.site import Site

TOUR = re.compile(r"## Five minutes\n(.*?)\n## ", re.DOTALL)
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def commands() -> list[list[str]]:
    """Each command of the tour as its words; without the one that listens for ever."""
    tour = TOUR.search((REPOSITORY / "README.md").read_text())
    assert tour is not None
    lines = "\n".join(BLOCK.findall(tour[1])).replace("\\\n", " ").splitlines()
    words = [shlex.split(line) for line in lines if line]
    return [one for one in words if one[0] != "mosquitto_sub" or "-C" in one]


def run(words: list[str], port: int, config: Path) -> str:
    """What a command prints."""
    program, *arguments = words
    if program.startswith("mosquitto_"):
        here = [program, "-p", str(port), *(["-W", "10"] if program != "mosquitto_pub" else []), *arguments]
    else:
        assert program == ".venv/bin/edge-gateway"
        there = ["config/development.toml"]
        here = [sys.executable, "-m", "gateway", *(str(config) if word in there else word for word in arguments)]
    done = subprocess.run(here, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def test_the_tour_works_as_it_is_written(own_site: Site) -> None:
    printed: dict[str, list[str]] = {}
    for words in commands():
        output = run(words, own_site.broker.port, own_site.gateway.config)
        printed.setdefault(Path(words[0]).name, []).append(output)
    configured, before, changed, listed = map(json.loads, printed["mosquitto_rr"])
    state, config = map(json.loads, printed["mosquitto_sub"])
    history, outcome, trace, devices, ledger, sent = printed["edge-gateway"]
    assert (configured["status"], configured["command_id"]) == ("accepted", "speed-1")
    assert state["reported"]["rpm"] == 900
    assert before["result"]["state"]["reported"] == {}
    assert "/reported/rpm" in {operation["path"] for operation in changed["result"]["patch"]}
    assert [document["id"] for document in listed["result"]] == ["pump-7"]
    assert config == {"version": 1, "properties": {"rpm": 1200}}
    assert "ConfigurationApplied" in history
    assert "speed-1" in outcome
    assert "ConfigurationRequested" in trace
    assert "pump-7" in devices
    assert ledger.startswith("began at")
    assert "accepted" in sent
