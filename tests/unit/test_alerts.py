"""What the alert rules and the dashboard ask for is what the gateway tells."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.latency import Latencies
from gateway.metrics import Metrics
from tests.support.figures import figures

CONFIG = Path(__file__).parents[2] / "config"
ALERTS = CONFIG / "alerts.yml"
DASHBOARD = CONFIG / "grafana-dashboard.json"

METRIC = re.compile(r"\b(?:edge_gateway|process)_\w+")
SELECTOR = re.compile(r"\b((?:edge_gateway|process)_\w+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)=~?"([^"]*)"')
OF_PROMETHEUS = frozenset({"instance", "job"})


def rules() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from group["rules"]


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]] + [rule["expr"] for rule in rules()]


def exported() -> dict[str, list[dict[str, str]]]:
    """The labels of each sample by its name, of a gateway that has not done anything yet."""
    found: dict[str, list[dict[str, str]]] = {}
    text = Metrics(Counter(), figures, Latencies()).exposition().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_metric_and_label_value_that_is_asked_for_is_told_from_the_start(expression: str) -> None:
    known = exported()
    assert set(METRIC.findall(expression)) <= set(known) or expression.startswith("up{")
    for name, matchers in SELECTOR.findall(expression):
        for label, values in MATCHER.findall(matchers):
            told = {labels.get(label) for labels in known[name]}
            assert label in OF_PROMETHEUS or set(values.split("|")) <= told, (name, label)


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_how_bad_it_is_and_what_to_look_at(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert {"summary", "description"} == set(rule["annotations"])


def test_no_metric_has_a_label_that_a_sender_could_fill() -> None:
    labels = {label for samples in exported().values() for sample in samples for label in sample}
    assert labels == {"gateway", "version", "status", "code", "type", "query", "reason", "le", "step"}


def test_every_metric_of_the_gateway_is_described_in_the_documentation() -> None:
    text = (CONFIG.parent / "docs" / "operations.md").read_text()
    ours = {name for name in exported() if name.startswith("edge_gateway_")}
    families = {re.sub(r"_(bucket|sum|count)$", "", name).removeprefix("edge_gateway_") for name in ours}
    assert {name for name in families if f"`{name}`" not in text} == set()
