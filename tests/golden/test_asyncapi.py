"""The protocol describes itself by a schema that is not ours, and the committed description is current.

``asyncapi-3.0.0.json.gz`` is the official schema of AsyncAPI 3.0.0 from the package @asyncapi/specs (Apache-2.0).
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from gateway.asyncapi import describe, schemas_of
from gateway.cli import main
from gateway.queries.parameters import QUERIES
from gateway.settings import Settings, load_catalogue
from tests.support.gateway_process import REPOSITORY

CATALOGUE = load_catalogue(Settings().domain)
OFFICIAL = Path(__file__).with_name("asyncapi-3.0.0.json.gz")


@pytest.fixture(scope="module")
def official() -> Draft7Validator:
    return Draft7Validator(json.loads(gzip.decompress(OFFICIAL.read_bytes())))


def test_the_description_is_valid(official: Draft7Validator) -> None:
    assert [error.message for error in official.iter_errors(describe(CATALOGUE, QUERIES))] == []


def test_the_schema_finds_what_is_wrong(official: Draft7Validator) -> None:
    document = describe(CATALOGUE, QUERIES)
    document["operations"]["send.ack"]["action"] = "shout"
    assert not official.is_valid(document)


def test_the_committed_description_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "--asyncapi", "--defaults"]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed) == describe(CATALOGUE, QUERIES)
    committed = (REPOSITORY / "docs" / "asyncapi.yaml").read_text()
    assert committed == printed, "renew it: edge-gateway describe --asyncapi --defaults > docs/asyncapi.yaml"


def test_every_reference_leads_somewhere() -> None:
    document = describe(CATALOGUE, QUERIES)
    for reference in _references(document):
        place: Any = document
        for key in reference.removeprefix("#/").split("/"):
            place = place[key]


def test_every_command_query_and_event_has_a_channel_and_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    channels = describe(CATALOGUE, QUERIES)["channels"]
    assert main(["describe", "--schemas", "--defaults"]) == 0
    schemas = json.loads(capsys.readouterr().out)
    assert schemas == schemas_of(CATALOGUE, QUERIES)
    names = {name for name in channels if "." in name}
    assert names == set(schemas) - {"envelope"}
    assert {"command.register", "query.list", "event.OutageRecorded", "query.feed"} < names
    assert "command.record-outage" not in names
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [one for value in node.values() for one in _references(value)]
    return [one for value in node for one in _references(value)] if isinstance(node, list) else []
