"""The broker's own certificates and its list of revoked ones, where they lie on this machine and can be read."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from gateway.broker_drop_in import BrokerPlaces
from gateway.doctor.certificates import check_private, judge_expiry
from gateway.doctor.findings import Finding, failed, fine, skipped

_CERTIFICATE: Final = "edge-gateway broker-certificate makes a new one; then systemctl reload mosquitto"
_AUTHORITY: Final = "found another authority and enrol every device anew, before the broker refuses them"
_REVOKED: Final = (
    "have it signed anew, then systemctl reload mosquitto: with a list that has expired it refuses everybody"
)


def check_broker_files(places: BrokerPlaces, authority: Path) -> Iterator[Finding]:
    """When each of them expires.

    Args:
        places: of the broker's files.
        authority: directory of the one that signs on this machine.
    """
    if find_spec("cryptography") is None:
        yield skipped("to read them takes a library more: pip install 'edge-gateway[enrol]'")
        return
    remedies = {
        places.certificate: _CERTIFICATE,
        places.authority: _AUTHORITY,
        places.revoked: _REVOKED,
        authority / "ca.crt": _AUTHORITY,
        authority / "crl.pem": _REVOKED,
    }
    if not places.certificates.exists():
        yield skipped(f"there is no {places.certificates} on this machine")
    for file, remedy in remedies.items():
        yield from _look_at(file, remedy)
    if places.key.exists():
        yield check_private(places.key)


def _look_at(file: Path, remedy: str) -> Iterator[Finding]:
    from gateway.certificates import end_of

    try:
        end = end_of(file.read_bytes())
    except FileNotFoundError:
        if file.parent.exists():
            yield skipped(f"there is no {file}")
    except OSError as error:
        yield skipped(f"{file}: {error.strerror}; root can look at it")
    except ValueError as error:
        yield failed(f"{file} is neither a certificate nor a list of revoked ones: {error}", "put a PEM file there")
    else:
        never = fine(f"{file} does not expire")
        yield never if end is None else judge_expiry(str(file), end, datetime.now(UTC), remedy)
