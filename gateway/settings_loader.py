"""Settings in layers: defaults, file, ``conf.d``, environment, credentials; all errors at once, each with its origin.

A missing file, an unknown key or a wrong value is an error: a daemon that silently runs on defaults is worse than none.
"""

import json
import os
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import count
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import SecretStr, ValidationError

from gateway.errors import SettingsError
from gateway.settings import Settings

DEFAULT_FILE: Final = Path("/etc/edge-gateway/gateway.toml")
FILE_VARIABLE: Final = "GATEWAY_CONFIG"
_PREFIX: Final = "GATEWAY_"
CREDENTIALS: Final = {
    "mqtt_password": ("mqtt", "password"),
    "event_store_password": ("event_store", "password"),
    "tracing_headers": ("tracing", "headers"),
}

_PLAINLY: Final = {
    "model_type": "must be a table",
    "path_type": "must be a path, as text",
    "tuple_type": "must be an array",
}
"""What pydantic tells in the words of Python."""

_TOO_DEEP: Final = "nested too deep"

Key = tuple[str | int, ...]
"""The way to a value: the names of tables and of the key, and numbers in an array of tables."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where they come from.

    Attributes:
        origins: for each dotted key that is set, and each table, where.
        warnings: what is not wrong, but should be looked at.
    """

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Every key with its value, secrets hidden, and its origin."""
        for path, value in _leaves(self.settings.model_dump()):
            key = _dotted(path)
            yield key, _shown(value), self.origins.get(key, "default")


def load_settings(path: Path | None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Read all layers.

    Raises:
        SettingsError: one line for each error.
    """
    layers = _Layers()
    given = path or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    file = given or DEFAULT_FILE
    layers.add_file(file, optional=given is None)
    layers.add_directory(file.parent / "conf.d")
    layers.add_environment(environ)
    if directory := environ.get("CREDENTIALS_DIRECTORY"):
        layers.add_credentials(Path(directory))
    return layers.settle()


class _Layers:
    """One tree, put together layer by layer, with the origin of each leaf."""

    def __init__(self) -> None:
        self._tree: dict[str | int, Any] = {}
        self._origins: dict[Key, str] = {}
        self._errors: list[str] = []
        self._warnings: list[str] = []

    def add_file(self, path: Path, *, optional: bool = False) -> None:
        text = self._read(path, optional=optional)
        if text is None:
            return
        try:
            leaves, lines = list(_leaves(tomllib.loads(text))), _lines(text)
        except tomllib.TOMLDecodeError as error:
            self._errors.append(_syntax_error(path, text, str(error)))
            return
        except RecursionError:
            self._errors.append(f"{path}: {_TOO_DEEP}")
            return
        for key, value in leaves:
            origin = f"{path}:{lines[key]}"
            self._put(key, value, origin)
            if _type_at(key) is SecretStr and value and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
                self._warnings.append(f"{origin}: {_dotted(key)}: others can read this file; use a credentials file")
        # those of tables, too
        self._origins |= {key: f"{path}:{line}" for key, line in lines.items()}

    def add_directory(self, path: Path) -> None:
        try:
            files = sorted(file for file in path.iterdir() if file.suffix == ".toml")
        except FileNotFoundError:
            return
        except OSError as error:
            self._errors.append(f"{path}: {error.strerror}")
            return
        for file in files:
            self.add_file(file)

    def add_environment(self, environ: Mapping[str, str]) -> None:
        for name, text in sorted(environ.items()):
            if name.startswith(_PREFIX) and name != FILE_VARIABLE:
                key = tuple(name.removeprefix(_PREFIX).lower().split("__"))
                try:
                    leaves = list(_leaves(_parse_value(key, text), key))
                except RecursionError:
                    self._errors.append(f"env {name}: {_TOO_DEEP}")
                    continue
                for leaf, value in leaves:
                    self._put(leaf, value, f"env {name}")

    def add_credentials(self, directory: Path) -> None:
        for name, key in CREDENTIALS.items():
            secret = self._read(directory / name, optional=True)
            if secret is not None:
                self._put(key, secret.rstrip("\r\n"), f"credentials {name}")

    def settle(self) -> Loaded:
        settings: Settings | None = None
        try:
            settings = Settings.model_validate(self._tree)
        except ValidationError as error:
            self._errors += [self._told(one) for one in error.errors(include_input=False, include_url=False)]
        if self._errors or settings is None:
            raise SettingsError("\n".join(self._errors))
        origins = {_dotted(key): origin for key, origin in self._origins.items()}
        return Loaded(settings, origins, tuple(self._warnings))

    def _read(self, path: Path, *, optional: bool) -> str | None:
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            if not (optional and isinstance(error, FileNotFoundError)):
                self._errors.append(f"{path}: {error.strerror}")
        except UnicodeDecodeError as error:
            # without the bytes, which may be a secret's
            self._errors.append(f"{path}: not UTF-8: {error.reason}")
        return None

    def _put(self, key: Key, value: object, origin: str) -> None:
        *parents, leaf = key
        node = self._tree
        for depth, name in enumerate(parents, start=1):
            node = node.setdefault(name, {})
            if not isinstance(node, dict):
                other = f"{_dotted(key[:depth])} is no table in {self._origins[key[:depth]]}"
                self._errors.append(f"{origin}: {_dotted(key)}: {other}")
                return
        if value == {}:
            # an empty table takes nothing away from what another layer has put there
            node.setdefault(leaf, {})
            self._origins.setdefault(key, origin)
            return
        node[leaf] = value
        self._origins = {known: place for known, place in self._origins.items() if known[: len(key)] != key}
        self._origins[key] = origin

    def _told(self, error: Mapping[str, Any]) -> str:
        key: Key = error["loc"]
        message = _PLAINLY.get(error["type"]) or error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            meant = _meant(str(key[-1]), _type_at(key[:-1]).model_fields)
            message = f"unknown key{f', did you mean {meant!r}?' if meant else ''}"
        return ": ".join(filter(None, (self._origin(key), _dotted(key), message)))

    def _origin(self, key: Key) -> str:
        """Where the key was set; else the first place inside it; else the table around it, where it is missing."""
        inside = min((known for known in self._origins if known[: len(key)] == key), key=len, default=None)
        around = (key[:length] for length in range(len(key), 0, -1))
        nearest = inside or next((table for table in around if table in self._origins), None)
        return self._origins[nearest] if nearest else ""


def _dotted(key: Key) -> str:
    return ".".join(map(str, key))


def _shown(value: object) -> str:
    """A value as a person reads it: text bare, the rest as TOML and JSON alike write it."""
    if isinstance(value, SecretStr):
        return "***"
    return str(value) if isinstance(value, str | Path) else json.dumps(value)


def _syntax_error(path: Path, text: str, message: str) -> str:
    """``path:line: what``, from tomllib's ``what (at line 3, column 5)`` or ``what (at end of document)``."""
    what, _, where = message.rpartition(" (at ")
    line = re.search(r"\d+", where)
    return f"{path}:{line[0] if line else len(text.splitlines())}: {what}"


def _leaves(value: object, key: Key = ()) -> Iterator[tuple[Key, object]]:
    """Every value below a table, with its key; an array of tables counts as one value, and so does an empty table."""
    if isinstance(value, Mapping) and (value or not key):
        for name, below in value.items():
            yield from _leaves(below, (*key, name))
    else:
        yield key, value


def _lines(text: str) -> dict[Key, int]:
    """The line on which each table and each key begins, in a text that is known to be TOML.

    The fewest lines that parse by themselves are one statement, so no parser of our own has to know what a string is.
    """
    found: dict[Key, int] = {}
    table: Key = ()
    statement, begin = "", 1
    for number, line in enumerate(text.split("\n"), start=1):
        statement += f"{line}\n"
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            ((table, content),) = _leaves(parsed)
            found.setdefault(table, begin)
            if content:  # of [[...]]: one more table of an array
                table = next((*table, index) for index in count() if (*table, index) not in found)
                found[table] = begin
        else:
            found |= {(*table, *key): begin for key, _ in _leaves(parsed)}
        statement, begin = "", number + 1
    return found


def _parse_value(key: Key, text: str) -> object:
    """A value as TOML writes it; anything else, and whatever is meant as text, is text."""
    if _type_at(key) in {str, Path, SecretStr}:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _type_at(key: Key) -> Any:  # noqa: ANN401  a field's annotation may be anything
    """The type of the setting, or of the table, that a key leads to; ``None`` where there is none."""
    found: Any = Settings
    for name in key:
        if isinstance(name, int):
            found = get_args(found)[0]
        else:
            field = getattr(found, "model_fields", {}).get(name)
            found = field.annotation if field else None
    return found


def _meant(name: str, keys: Iterable[str]) -> str | None:
    """The key that was probably meant: swapped letters first, then whatever is close."""
    swapped = [key for key in keys if sorted(key) == sorted(name)]
    return next(iter(swapped or get_close_matches(name, keys, n=1)), None)
