"""``edge-gateway describe``: the protocol, for programs."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config

SUMMARY: Final = "describe the protocol: as AsyncAPI, or the JSON Schemas alone"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--asyncapi", action="store_true", help="print an AsyncAPI 3.0 document as YAML")
    what.add_argument("--schemas", action="store_true", help="print the JSON Schemas of commands, events and queries")
    parser.add_argument("--defaults", action="store_true", help="of a gateway with default settings")
    add_config(parser)


def execute(options: Namespace) -> Exit:
    """Print what was asked for.

    Raises:
        SettingsError: the settings cannot be used.
    """
    from gateway.asyncapi import describe, schemas_of
    from gateway.queries.parameters import QUERIES
    from gateway.settings import Settings, load_catalogue
    from gateway.settings_loader import load_settings

    settings = Settings() if options.defaults else load_settings(options.config).settings
    catalogue = load_catalogue(settings.domain)
    if options.schemas:
        print(json.dumps(schemas_of(catalogue, QUERIES), indent=2))
    else:
        print("\n".join(_yaml(describe(catalogue, QUERIES, settings.root), "")))
    return Exit.OK


def _yaml(value: Any, indent: str) -> Iterator[str]:  # noqa: ANN401 - a JSON value
    """A JSON object in block style; every scalar is written as JSON, which YAML reads as it is."""
    items = value.items() if isinstance(value, Mapping) else ((None, one) for one in value)
    for key, one in items:
        head = f"{indent}- " if key is None else f"{indent}{json.dumps(key)}:"
        if isinstance(one, Mapping | list) and one:
            yield head.rstrip()
            yield from _yaml(one, f"{indent}  ")
        else:
            yield f"{head} {json.dumps(one, ensure_ascii=False)}".replace("-  ", "- ")
