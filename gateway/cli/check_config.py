"""``edge-gateway check-config``: are the settings right, and where does each value come from?"""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config, add_json
from gateway.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from gateway.domain.catalogue import Catalogue
    from gateway.settings import EventStoreSettings, Settings

SUMMARY: Final = "check the settings, telling every error at once"

_HEADING: Final = ("key", "value", "origin")


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    add_config(parser)
    add_json(parser)
    parser.add_argument("--show", action="store_true", help="print every value with its origin; secrets are hidden")


def execute(options: Namespace) -> Exit:
    """Load the settings and say what they are; no broker, store or collector is asked.

    Raises:
        SettingsError: they cannot be used.
    """
    import asyncio

    from gateway.settings import load_catalogue, load_projections
    from gateway.settings_loader import load_settings

    loaded = load_settings(options.config)
    catalogue = load_catalogue(loaded.settings.domain)
    load_projections(loaded.settings.readmodel)
    if loaded.settings.event_store.url:
        asyncio.run(_check_client(loaded.settings.event_store, catalogue))
    if loaded.settings.tracing.endpoint:
        asyncio.run(_check_tracing(loaded.settings))
    for warning in loaded.warnings:
        note(f"warning: {warning}")
    if not options.show:
        note("the settings are right")
    elif options.json:
        for row in loaded.rows():
            print_json(dict(zip(_HEADING, row, strict=True)))
    else:
        print_table(_HEADING, loaded.rows())
    return Exit.OK


async def _check_client(settings: "EventStoreSettings", catalogue: "Catalogue") -> None:
    """Make a client for the event store, as the daemon does.

    Raises:
        SettingsError: there is no client library, or it does not take the settings.
    """
    from gateway.storage import open_remote_log

    async with open_remote_log(settings, catalogue):
        pass


async def _check_tracing(settings: "Settings") -> None:
    """Make what sends spans, as the daemon does; nothing is sent.

    Raises:
        SettingsError: OpenTelemetry is not installed, or a file cannot be read.
    """
    from gateway.adapters.clock import SystemClock
    from gateway.tracing import open_tracing

    async with open_tracing(settings.tracing, settings.gateway.id, SystemClock()):
        pass
