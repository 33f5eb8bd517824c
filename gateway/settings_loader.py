"""Settings in layers: defaults, file, ``conf.d``, environment, credentials; all errors at once, each with its origin.

A missing file, an unknown key or a wrong value is an error: a daemon that silently runs on defaults is worse than none.
"""

import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from gateway.errors import SettingsError
from gateway.settings import SECRETS, Settings

DEFAULT_FILE: Final = Path("/etc/edge-gateway/gateway.toml")
FILE_VARIABLE: Final = "GATEWAY_CONFIG"
_PREFIX: Final = "GATEWAY_"
_CREDENTIALS: Final = {"mqtt_password": "mqtt.password"}

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where they come from.

    Attributes:
        origins: for each dotted key that is not at its default, where it was set.
        warnings: what is not wrong, but should be looked at.
    """

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Every key with its value, secrets hidden, and its origin."""
        for key, value in _leaves(self.settings.model_dump(mode="python")):
            shown = "***" if key in SECRETS or isinstance(value, SecretStr) else str(value)
            yield key, shown, self.origins.get(key, "default")


def load_settings(path: Path | None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Read all layers.

    Raises:
        SettingsError: one line for each error.
    """
    layers = _Layers()
    given = path or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    file = given or DEFAULT_FILE
    if given is not None or file.exists():
        layers.add_file(file)
    for extra in sorted((file.parent / "conf.d").glob("*.toml")):
        layers.add_file(extra)
    layers.add_environment(environ)
    if directory := environ.get("CREDENTIALS_DIRECTORY"):
        layers.add_credentials(Path(directory))
    return layers.settle()


class _Layers:
    """One tree, put together layer by layer, with the origin of each leaf."""

    def __init__(self) -> None:
        self._tree: Tree = {}
        self._origins: dict[str, str] = {}
        self._errors: list[str] = []
        self._warnings: list[str] = []

    def add_file(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8")
            layer = tomllib.loads(text)
        except OSError as error:
            self._errors.append(f"{path}: {error.strerror}")
            return
        except UnicodeDecodeError as error:
            self._errors.append(f"{path}: not UTF-8: {error.reason}")
            return
        except tomllib.TOMLDecodeError as error:
            self._errors.append(_syntax_error(path, str(error)))
            return
        lines = _lines(text)
        for key, value in _leaves(layer):
            line = lines.get(key) or lines.get(key.rpartition(".")[0])
            self._put(key, value, f"{path}:{line}" if line else str(path))
            if key in SECRETS and value and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
                self._warnings.append(f"{path}:{line}: {key}: others can read this file; use a credentials file")

    def add_environment(self, environ: Mapping[str, str]) -> None:
        for name, text in sorted(environ.items()):
            if name.startswith(_PREFIX) and name != FILE_VARIABLE:
                key = name.removeprefix(_PREFIX).lower().replace("__", ".")
                for leaf, value in _leaves(_nest(key, _parse_value(key, text))):
                    self._put(leaf, value, f"env {name}")

    def add_credentials(self, directory: Path) -> None:
        for name, key in _CREDENTIALS.items():
            file = directory / name
            try:
                if file.exists():
                    self._put(key, file.read_text(encoding="utf-8").rstrip("\r\n"), f"credentials {name}")
            except (OSError, UnicodeDecodeError) as error:
                self._errors.append(f"{file}: {error}")

    def settle(self) -> Loaded:
        settings: Settings | None = None
        try:
            settings = Settings.model_validate(self._tree)
        except ValidationError as error:
            self._errors += [self._told(one) for one in error.errors(include_input=False, include_url=False)]
        if self._errors or settings is None:
            raise SettingsError("\n".join(self._errors))
        return Loaded(settings, self._origins, tuple(self._warnings))

    def _put(self, key: str, value: object, origin: str) -> None:
        node = self._tree
        *parents, leaf = key.split(".")
        for parent in parents:
            below = node.setdefault(parent, {})
            if not isinstance(below, dict):
                node[parent] = below = {}
            node = below
        node[leaf] = value
        self._origins[key] = origin

    def _told(self, error: Mapping[str, Any]) -> str:
        path = [str(part) for part in error["loc"]]
        key = ".".join(path)
        origin = next(
            (origin for known, origin in self._origins.items() if known == key or known.startswith(f"{key}.")),
            self._origins.get(path[0], ""),
        )
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            meant = _meant(path[-1], _keys_beside(path))
            message = f"unknown key{f', did you mean {meant!r}?' if meant else ''}"
        return ": ".join(filter(None, (origin, key, message)))


def _syntax_error(path: Path, message: str) -> str:
    """``path:line: what``, from tomllib's ``what (at line 3, column 5)``."""
    what, found, where = message.rpartition(" (at line ")
    return f"{path}:{where.partition(',')[0]}: {what}" if found else f"{path}: {message}"


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no table, with its dotted key; an array of tables counts as one value."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _lines(text: str) -> dict[str, int]:
    """The line on which each key is set: where the text up to there first has it.

    Only prefixes that are whole TOML documents count, so no parser of our own has to know what a string is.
    """
    lines = text.splitlines(keepends=True)
    found: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if "=" not in line and not line.lstrip().startswith("["):
            continue
        try:
            prefix = tomllib.loads("".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        for key, _ in _leaves(prefix):
            found.setdefault(key, number)
    return found


def _nest(key: str, value: object) -> Tree:
    for name in reversed(key.split(".")):
        value = {name: value}
    return value if isinstance(value, dict) else {}


def _parse_value(key: str, text: str) -> object:
    """A value as TOML writes it; anything else, and whatever is meant as text, is text."""
    if _is_text(key):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _is_text(key: str) -> bool:
    model: object = Settings
    for name in key.split("."):
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or name not in model.model_fields:
            return False
        model = model.model_fields[name].annotation
    return model in {str, Path, SecretStr}


def _meant(name: str, keys: list[str]) -> str | None:
    """The key that was probably meant: swapped letters first, then whatever is close."""
    swapped = [key for key in keys if sorted(key) == sorted(name)]
    return next(iter(swapped or get_close_matches(name, keys, n=1)), None)


def _keys_beside(path: list[str]) -> list[str]:
    """The keys that exist where an unknown one was found."""
    model: Any = Settings
    for name in path[:-1]:
        if name.isdigit():
            continue
        annotation = model.model_fields[name].annotation
        model = next((one for one in (annotation, *get_args(annotation)) if hasattr(one, "model_fields")), Settings)
    return list(model.model_fields)
