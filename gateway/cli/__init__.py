"""The command ``edge-gateway``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway import __version__


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="edge-gateway")
    parser.add_argument("--version", action="version", version=f"edge-gateway {__version__}")
    parser.add_argument("command")
    parser.add_argument("--config", type=Path)
    args = parser.parse_args(argv)
    from gateway.app import serve
    from gateway.log import configure
    from gateway.settings_loader import load_settings

    loaded = load_settings(args.config)
    configure(loaded.settings.log.level, loaded.settings.log.format)
    serve(loaded.settings)
    return 0
