"""``edge-gateway backup``: a copy of all that must not be lost, while the gateway runs or not."""

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config, add_json
from gateway.cli.output import note, print_json

SUMMARY: Final = "copy the database, while the gateway runs or not"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument(
        "target", type=Path, metavar="FILE|DIR", help="where the copy goes; in a directory it is named after the time"
    )
    parser.epilog = "How to restore it, and what that means for command ids, is told in docs/operations.md."
    add_config(parser)
    add_json(parser)


def execute(options: Namespace) -> Exit:
    """Copy, check the copy, and say what it holds.

    Raises:
        SettingsError: the settings cannot be used.
        StateError: there is no database, or the copy cannot be made.
    """
    from gateway.adapters.sqlite import DATABASE_FILE
    from gateway.adapters.sqlite_backup import back_up
    from gateway.settings_loader import load_settings

    settings = load_settings(options.config).settings
    target: Path = options.target
    if target.is_dir():
        target /= f"gateway-{settings.gateway.id}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
    made = back_up(settings.gateway.state_dir / DATABASE_FILE, target)
    if options.json:
        print_json({"file": str(target), "position": made.position, "bytes": made.size})
    else:
        print(target)
        note(f"{made.size} bytes, events up to position {made.position}")
    if settings.event_store.url:
        note(f"the events themselves are in {settings.event_store.url}: back that store up, too")
    return Exit.OK
