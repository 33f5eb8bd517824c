"""``edge-gateway run``: the daemon."""

from argparse import ArgumentParser, Namespace
from typing import Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config

SUMMARY: Final = "run the gateway in the foreground"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    add_config(parser)


def execute(options: Namespace) -> Exit:
    """Load the settings, set logging up, and serve.

    Raises:
        SettingsError: the settings cannot be used.
        StateError: the state directory cannot be used.
        StoreUnavailable: the disk does not let the database be opened.
    """
    from functools import partial

    import structlog

    from gateway.daemon import serve
    from gateway.log import configure
    from gateway.settings_loader import load_settings

    read = partial(load_settings, options.config)
    loaded = read()
    configure(loaded.settings.log.level, loaded.settings.log.format)
    for warning in loaded.warnings:
        structlog.get_logger().warning("settings_warning", warning=warning)
    serve(loaded.settings, read)
    return Exit.OK
