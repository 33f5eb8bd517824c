"""What a value in the settings must look like, where its type does not say it all: it comes back, or an error. Pure."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from gateway.ids import is_name

_HIGHEST_PORT: Final = 65_535
_STORE_SCHEMES: Final = frozenset({"esdb", "esdb+discover", "kdb", "kdb+discover", "kurrentdb", "kurrentdb+discover"})
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)


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


def collector_url(value: str) -> str:
    """Where spans go, or nothing."""
    if not value:
        return value
    told = "must be empty, or such as http://127.0.0.1:4318 or https://collector.example:4318"
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        raise ValueError(told) from None
    if url.scheme not in {"http", "https"} or not url.hostname or port == 0 or url.query or url.fragment:
        raise ValueError(told)
    if "@" in url.netloc:
        raise ValueError("must not hold a password: use tracing.headers")
    return value


def secret_headers(value: SecretStr) -> SecretStr:
    """Headers of HTTP as :func:`headers` reads them."""
    headers(value.get_secret_value())
    return value


def headers(text: str) -> dict[str, str]:
    """Headers from ``name=value,name=value``, each value percent-encoded: as OTEL_EXPORTER_OTLP_HEADERS has them.

    Raises:
        ValueError: without a word of the text, which is a secret.
    """
    found = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        key, sign, value = item.partition("=")
        key, value = key.strip(), unquote(value).strip()
        if not sign or not _HEADER_NAME.fullmatch(key) or not (value.isascii() and value.isprintable()):
            raise ValueError("must be such as authorization=Bearer%20TOKEN,x-tenant=plant-3: values percent-encoded")
        found[key] = value
    return found


def some(value: tuple[str, ...]) -> tuple[str, ...]:
    """One at least."""
    if not value:
        raise ValueError("must not be empty")
    return value
