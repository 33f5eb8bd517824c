"""The broker as a device sees it: a device of the doctor's own, which tries what no device may."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.adapters.mqtt import LinkOptions, TlsFiles
from gateway.adapters.mqtt_probe import Probe
from gateway.doctor.certificates import common_name
from gateway.doctor.findings import Finding, failed, fine
from gateway.doctor.forgery import foreign_command, try_all, try_as_nobody, what_only_the_gateway_says
from gateway.doctor.keeping import PATIENCE
from gateway.errors import LinkLost
from gateway.topics import Topics

DEVICE: Final = "doctor"
"""Its name: with the certificate of another one the doctor would end that one's connection, and take its session."""

_SOMEBODY_ELSE: Final = "doctor-in-disguise"


def check_as_device(directory: Path, host: str, port: int, root: str) -> Iterator[Finding]:
    """Come with what ``enrol`` has made for a device, and without.

    Args:
        directory: of ``cert.pem``, ``key.pem`` and ``ca.pem``.
        host: where devices reach the broker.
        port: there.
        root: of all topics.
    """
    files = TlsFiles(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")
    if common_name(str(files.certificate)) != DEVICE:
        yield failed(f"{directory} has no certificate of a device named {DEVICE}", f"edge-gateway enrol {DEVICE}")
        return
    probe = Probe(LinkOptions(DEVICE, host, port, tls=files))
    try:
        if refusal := probe.connect(session_expiry=0, clean_start=True).refusal:
            yield failed(f"the broker does not let a device in: {refusal}", "look at the broker's log")
            return
        yield fine("the broker lets a device in")
        topics = Topics(root)
        probe.subscribe(topics.status)
        status = probe.heard(topics.status, PATIENCE)
        forgeries = [foreign_command(root, _SOMEBODY_ELSE), *what_only_the_gateway_says(root, status)]
        yield from try_all(probe, forgeries, "a device")
        probe.disconnect()
        yield from try_as_nobody(probe.as_nobody(), forgeries)
    except (OSError, LinkLost) as error:
        yield failed(
            f"a device cannot reach the broker at {host}:{port}: {error}",
            "compare with its listener, and the names in its certificate",
        )
    finally:
        probe.disconnect()
