"""What a value in the settings must look like, where its type does not say it all: it comes back, or an error. Pure."""

from typing import Final
from urllib.parse import urlsplit

from gateway.ids import is_name

_HIGHEST_PORT: Final = 65_535
_STORE_SCHEMES: Final = frozenset({"esdb", "esdb+discover", "kdb", "kdb+discover", "kurrentdb", "kurrentdb+discover"})


def name(value: str) -> str:
    """One topic level."""
    if not is_name(value):
        raise ValueError("must be 1 to 64 of A-Z a-z 0-9 . _ : -, no sign first")
    return value


def root(value: str) -> str:
    """Topic levels, or none."""
    if value and (set(value) & {"+", "#", "$"} or not all(value.split("/"))):
        raise ValueError("must be topic levels without wildcards, such as edge/gw1")
    return value


def store_url(value: str) -> str:
    """Where an event store is, or nothing."""
    if not value:
        return value
    url = urlsplit(value)
    if url.scheme not in _STORE_SCHEMES or not url.netloc:
        raise ValueError("must be empty, or such as esdb://store.example:2113 or esdb+discover://cluster.example:2113")
    if "@" in url.netloc:
        raise ValueError("must not hold a password: use event_store.username and event_store.password")
    return value


def stream_prefix(value: str) -> str:
    """What stands before the names of streams, or nothing."""
    if value and not is_name(value):
        raise ValueError("must be up to 64 of A-Z a-z 0-9 . _ : -, no sign first")
    return value


def address(value: str) -> str:
    """Where to listen, or nothing."""
    if not value or (value.startswith("unix:/") and value != "unix:/"):
        return value
    host, _, port = value.rpartition(":")
    if not host.strip("[]") or not port.isascii() or not port.isdigit() or not 0 < int(port) <= _HIGHEST_PORT:
        raise ValueError("must be empty, or such as 127.0.0.1:9464 or unix:/run/edge-gateway/metrics.sock")
    return value


def some(value: tuple[str, ...]) -> tuple[str, ...]:
    """One at least."""
    if not value:
        raise ValueError("must not be empty")
    return value
