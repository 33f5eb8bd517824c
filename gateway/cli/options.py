"""Options that several subcommands share, and what they lead to."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from gateway.errors import SettingsError
from gateway.ids import is_name

MOST_DAYS: Final = 36_500
"""That anything can be asked to be valid for."""


def add_config(parser: ArgumentParser) -> None:
    """``--config PATH``."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="PATH",
        help="settings file (default: $GATEWAY_CONFIG, else /etc/edge-gateway/gateway.toml)",
    )


def add_json(parser: ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")


def add_projection(parser: ArgumentParser) -> None:
    """``--projection NAME``."""
    parser.add_argument(
        "--projection", type=name, metavar="NAME", help="the documents of this projection of your own, not the states"
    )


def add_mosquitto(parser: ArgumentParser) -> None:
    """``--mosquitto PATH``."""
    parser.add_argument(
        "--mosquitto",
        type=_absolute,
        default=Path("/etc/mosquitto"),
        metavar="PATH",
        help="directory of mosquitto's files (default: %(default)s)",
    )


def add_authority(parser: ArgumentParser) -> None:
    """``--ca PATH``."""
    parser.add_argument(
        "--ca",
        type=Path,
        default=Path("/etc/edge-gateway/ca"),
        metavar="PATH",
        help="directory of the authority that signs (default: %(default)s)",
    )


def _absolute(text: str) -> Path:
    # it stands in mosquitto's configuration, which mosquitto reads from wherever it was started
    return Path(text).absolute()


def add_field(parser: ArgumentParser) -> None:
    """``--field PATH``: a document may be larger than an answer."""
    parser.add_argument(
        "--field",
        action="append",
        metavar="PATH",
        help="only this field, such as status or reported.rpm; may be repeated",
    )


def need_certificates() -> None:
    """Make sure of the library that whoever has an authority of another kind can do without.

    Raises:
        SettingsError: it is not installed.
    """
    if find_spec("cryptography") is None:
        raise SettingsError("certificates need a library more: pip install 'edge-gateway[enrol]'")


def name(text: str) -> str:
    """The type of what stands as one topic level: an actor, a device, a command."""
    if not is_name(text):
        raise ArgumentTypeError(f"{text!r} must be 1 to 64 of A-Z a-z 0-9 . _ : -, no sign first")
    return text


def moment(text: str) -> int | str:
    """The type of a revision or a time."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ArgumentTypeError(f"must be a revision, or a time such as 2026-03-01T12:00:00Z, not {text!r}")
    return time.isoformat()


def json_object(text: str) -> dict[str, Any]:
    """The type of a JSON object."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ArgumentTypeError(f"must be a JSON object, not {text!r}")
    return found


def within(lowest: int, highest: int) -> Callable[[str], int]:
    """The type of a whole number between two others."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = lowest - 1
        if not lowest <= number <= highest:
            raise ArgumentTypeError(f"must be a whole number from {lowest} to {highest}, not {text!r}")
        return number

    return read


def at_least(lowest: int) -> Callable[[str], int]:
    """The type of a whole number that is not below another."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = lowest - 1
        if number < lowest:
            raise ArgumentTypeError(f"must be a whole number from {lowest} on, not {text!r}")
        return number

    return read
