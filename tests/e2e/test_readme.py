"""The tour of the README, line by line, as a newcomer types it."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from gateway.queries.parameters import QUERIES
from tests.support.gateway_process import REPOSITORY
from tests.support.site import Site

TOUR = re.compile(r"## Five minutes\n(.*?)\n## ", re.DOTALL)
QUERY = re.compile(r"edge/gw1/query/alice/(\w+)")
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def commands() -> list[list[str]]:
    """Each command of the tour as its words; without the one that listens for ever."""
    tour = TOUR.search((REPOSITORY / "README.md").read_text())
    assert tour is not None
    lines = "\n".join(BLOCK.findall(tour[1])).replace("\\\n", " ").splitlines()
    words = [shlex.split(line) for line in lines if line and not line.startswith("#")]
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


def look_at(answers: dict[str, dict[str, Any]]) -> None:
    """Each query of the protocol is in the tour, and is answered with what the tour says."""
    assert answers.keys() == QUERIES.keys()
    assert {answer["code"] for answer in answers.values()} == {200}
    found = {query: answer["result"] for query, answer in answers.items()}
    assert found["get"] == {"id": "pump-7", "status": "online", "reported.rpm": 1200}
    assert [document["id"] for document in found["list"]] == ["pump-7"]
    assert [event["type"] for event in found["history"]][:2] == ["ConfigurationApplied", "PropertiesReported"]
    assert found["state_at"]["state"]["reported"] == {}
    assert "/reported/rpm" in {operation["path"] for operation in found["diff"]["patch"]}
    assert [(one["actor"], one["code"]) for one in found["outcome"]] == [("alice", 200)]
    [command] = found["trace"]["commands"]
    assert [event["type"] for event in command["events"]] == ["ConfigurationRequested"]
    assert found["alarms"] == []
    assert found["summary"]["devices"] == {"model": {"T-1000": 1}, "status": {"online": 1}}
    assert found["outages"]["gateway"] == "gw1"
    assert found["commands"]["configure"]["schema"]["required"] == ["properties"]
    assert [event["type"] for event in found["feed"]] == ["DeviceRegistered", "DeviceConnected"]
    assert answers["feed"]["next"] == {"after": found["feed"][-1]["position"]}


def test_the_tour_works_as_it_is_written(own_site: Site) -> None:
    printed: dict[str, list[str]] = {}
    answers: dict[str, dict[str, Any]] = {}
    for words in commands():
        output = run(words, own_site.broker.port, own_site.gateway.config)
        if asked := QUERY.search(" ".join(words)):
            answers[asked[1]] = json.loads(output)
        else:
            printed.setdefault(Path(words[0]).name, []).append(output)
    look_at(answers)
    (configured,) = map(json.loads, printed["mosquitto_rr"])
    state, config = map(json.loads, printed["mosquitto_sub"])
    history, outcome, trace, devices, ledger, sent = printed["edge-gateway"]
    assert (configured["status"], configured["command_id"]) == ("accepted", "speed-1")
    assert state["reported"]["rpm"] == 900
    assert config == {"version": 1, "properties": {"rpm": 1200}}
    assert "ConfigurationApplied" in history
    assert "speed-1" in outcome
    assert "ConfigurationRequested" in trace
    assert "pump-7" in devices
    assert ledger.startswith("began at")
    assert "accepted" in sent
