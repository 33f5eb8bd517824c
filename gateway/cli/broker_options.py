"""Options that name the broker, in place of what the settings say, and whoever speaks there."""

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace, _ArgumentGroup
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.options import at_least, name
from gateway.ids import is_name

if TYPE_CHECKING:
    from gateway.settings import Settings


def add_broker(group: _ArgumentGroup) -> None:
    """``--host``, ``--port``, ``--username``, ``--password-file`` and ``--root``."""
    group.add_argument("--host")
    group.add_argument("--port", type=at_least(1))
    group.add_argument("--username")
    group.add_argument("--password-file", type=Path, metavar="PATH", help="of that user; without one: none")
    group.add_argument("--root", help="of all topics")


def add_actor(parser: ArgumentParser | _ArgumentGroup, who: str) -> None:
    """``--actor``."""
    parser.add_argument(
        "--actor", type=name, help=f"{who} (default: --username, else $USER if that can be an actor, else operator)"
    )


def add_timeout(parser: ArgumentParser | _ArgumentGroup) -> None:
    """``--timeout S``."""
    parser.add_argument(
        "--timeout", type=_seconds, default=30.0, metavar="S", help="seconds to try for (default: %(default)g)"
    )


def with_flags(settings: "Settings", options: Namespace) -> "Settings":
    """The settings, with what the options say about the broker in place of theirs.

    Raises:
        SettingsError: an option is none that a setting could be.
    """
    from pydantic import ValidationError

    from gateway.errors import SettingsError
    from gateway.settings import MqttSettings

    flags = {name: getattr(options, name) for name in ("host", "port", "username", "root")}
    given = {name: value for name, value in flags.items() if value is not None}
    if given.keys() & {"host", "port"}:
        given["socket"] = ""
    if options.password_file is not None:
        given["password"] = _password(options.password_file)
    elif options.username is not None:
        # the settings' password belongs to the gateway itself
        given["password"] = ""
    try:
        mqtt = MqttSettings.model_validate({**dict(settings.mqtt), **given})
    except ValidationError as error:
        raise SettingsError("\n".join(f"--{one['loc'][0]}: {one['msg']}" for one in error.errors())) from error
    return settings.model_copy(update={"mqtt": mqtt})


def _password(path: Path) -> str:
    from gateway.errors import SettingsError

    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--password-file: {error}") from error


def default_actor(username: str | None) -> str:
    """Whoever the broker will know."""
    candidates = (username, os.environ.get("USER"))
    return next((one for one in candidates if one is not None and is_name(one)), "operator")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ArgumentTypeError(f"must be a number of seconds over 0, not {text!r}")
    return seconds
