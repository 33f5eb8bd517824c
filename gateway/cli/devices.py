"""``edge-gateway devices``: every device in a line."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any, Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config, add_json
from gateway.cli.output import print_json, print_table, shown

SUMMARY: Final = "list the devices"

_HEADING: Final = ("id", "model", "status", "revision", "alarms", "last seen")


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    add_config(parser)
    add_json(parser)


def execute(options: Namespace) -> Exit:
    """Print all documents of the read side.

    Raises:
        SettingsError: the settings cannot be used.
        StateError: there is no log, or it cannot be read.
    """
    from gateway.cli.read_side import open_read_side
    from gateway.domain.outages import GATEWAY

    with open_read_side(options.config) as side:
        cache = side.current_cache()
    documents: list[dict[str, Any]] = [
        document
        for decider in side.catalogue
        if decider is not GATEWAY
        for document in sorted(cache.documents(decider.collection), key=lambda document: str(document["id"]))
    ]
    if options.json:
        for document in documents:
            print_json(document)
    else:
        print_table(_HEADING, map(_row, documents))
    return Exit.OK


def _row(document: dict[str, Any]) -> Sequence[str]:
    status = "degraded" if document["degraded"] else shown(document.get("status"))
    alarms = len(document.get("alarms", ()))
    return (
        document["id"],
        shown(document.get("model")),
        status,
        str(document["revision"]),
        str(alarms),
        shown(document.get("last_seen")),
    )
