"""The files of TLS: there, private, and not about to expire."""

import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from gateway.doctor.findings import Finding, failed, fine, skipped, warning
from gateway.settings import Settings

SOON: Final = timedelta(days=21)


def check_certificates(settings: Settings) -> Iterator[Finding]:
    """Those that the settings name."""
    tls = settings.mqtt.tls
    files = (
        settings.event_store.ca_file,
        settings.tracing.ca_file,
        *((tls.ca_file, tls.cert_file) if tls.enabled else ()),
    )
    named = list(dict.fromkeys(filter(None, files)))
    for file in named:
        yield _expiring(Path(file))
    if tls.enabled and tls.key_file:
        yield check_private(Path(tls.key_file))
    elif not named:
        yield skipped("the settings name none")


def expires(certificate: Path) -> datetime:
    """When the first certificate in a PEM file expires.

    Raises:
        OSError: it cannot be read, or is none.
    """
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(_decoded(certificate)["notAfter"])), UTC)


def common_name(certificate: str) -> str:
    """Under which a broker may know whoever has the first certificate in a PEM file; empty where there is none."""
    try:
        subject = _decoded(Path(certificate))["subject"] if certificate else ()
    except OSError:
        return ""
    return next((str(value) for part in subject for key, value in part if key == "commonName"), "")


def _decoded(certificate: Path) -> dict[str, Any]:
    # the standard library has no public way to read a certificate that is nobody's peer
    found: dict[str, Any] = ssl._ssl._test_decode_cert(certificate)  # type: ignore[attr-defined] # noqa: SLF001
    return found


def judge_expiry(name: str, end: datetime, now: datetime, remedy: str = "renew it now") -> Finding:
    """What is to be said of a certificate that ends then."""
    if end <= now:
        return failed(f"{name} expired on {end:%Y-%m-%d}", remedy)
    if end - now < SOON:
        return warning(f"{name} expires on {end:%Y-%m-%d}", remedy)
    return fine(f"{name} is valid until {end:%Y-%m-%d}")


def _expiring(file: Path) -> Finding:
    try:
        return judge_expiry(str(file), expires(file), datetime.now(UTC))
    except OSError as error:
        return failed(
            f"{file} cannot be read as a certificate: {error}", "put a PEM file there, readable by the gateway"
        )


def check_private(file: Path) -> Finding:
    """Whether a key can be read by everybody."""
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
    except OSError as error:
        return failed(f"{file}: {error.strerror}", "put the key there, readable by whoever uses it")
    if mode & 0o007:
        return failed(f"the key {file} can be read by everybody", f"chmod 640 {file}, and renew the key")
    return fine(f"the key {file} is private")
