"""The broker: it lets the gateway in, keeps its session, and lets nobody pretend to be another."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from secrets import token_hex
from typing import Any, Final

from gateway.adapters.mqtt_probe import Granted, Probe
from gateway.broker import link_options
from gateway.broker_drops import DROPPED
from gateway.doctor.certificates import judge_expiry
from gateway.doctor.findings import Finding, failed, fine, skipped, warning
from gateway.errors import LinkLost
from gateway.settings import MqttSettings, Settings

PATIENCE: Final = 1.0
_FORGED: Final = b'{"command_id": "doctor", "dry_run": true}'
_ACL: Final = "tie the actor level to the user in the broker's ACL: pattern write <root>/cmd/%u/#"


def check_broker(settings: Settings) -> Iterator[Finding]:
    """Connect as the gateway does, under a client id of the doctor's own, and look around."""
    mqtt = settings.mqtt
    yield from _check_line(mqtt)
    probe = Probe(link_options(mqtt, f"doctor-{token_hex(8)}"))
    try:
        # with the gateway's own expiry: a broker that puts another client id in its place must not forget the session
        granted = probe.connect(session_expiry=mqtt.session_expiry)
    except ssl.SSLError as error:
        yield failed(f"TLS fails: {error}", "compare mqtt.tls with the broker's certificates")
        return
    except (OSError, LinkLost) as error:
        yield failed(
            f"the broker cannot be reached: {error}", "start it; compare mqtt.host, port or socket with its listener"
        )
        return
    if granted.refusal:
        probe.disconnect()
        yield failed(f"the broker does not let {mqtt.username!r} in: {granted.refusal}", "correct user and password")
        return
    if granted.session_present:
        probe.disconnect()
        yield failed(
            "the broker puts another client id in place of the gateway's, and the doctor took over its session",
            "no use_username_as_clientid on the gateway's listener",
        )
        return
    yield fine("the broker lets the gateway in")
    yield from judge_grants(granted, mqtt)
    try:
        yield from _check_session(probe, settings)
        yield from _check_acl(probe, settings.root)
    except (OSError, LinkLost) as error:
        yield failed(f"the broker left in the middle of it: {error}", "look at the broker's log")


def _check_line(mqtt: MqttSettings) -> Iterator[Finding]:
    if not (mqtt.socket or mqtt.tls.enabled or _is_loopback(mqtt.host)):
        yield warning(f"the way to {mqtt.host} is not encrypted: password and commands can be read", "set mqtt.tls")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def judge_grants(granted: Granted, mqtt: MqttSettings) -> Iterator[Finding]:
    """What the broker says of itself when it lets somebody in."""
    told: dict[str, Any] = granted.properties
    if "notAfter" in granted.certificate:
        end = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(granted.certificate["notAfter"])), UTC)
        yield judge_expiry("the broker's certificate", end, datetime.now(UTC))
    if told.get("MaximumQoS", 2) < 1:
        yield failed("the broker takes no QoS 1: nothing can be confirmed", "allow QoS 1 in the broker's settings")
    if not told.get("RetainAvailable", 1):
        yield failed("the broker keeps no retained messages: no state, no status", "set retain_available true")
    expiry = told.get("SessionExpiryInterval", mqtt.session_expiry)
    if expiry < mqtt.session_expiry:
        yield warning(
            f"the broker keeps our session for {expiry} s only, not {mqtt.session_expiry}",
            "raise persistent_client_expiration, or lower mqtt.session_expiry",
        )
    largest = told.get("MaximumPacketSize")
    if largest is not None and largest < mqtt.max_payload:
        yield warning(
            f"the broker takes {largest} bytes at most, less than mqtt.max_payload",
            "raise max_packet_size, or lower mqtt.max_payload",
        )


def _check_session(probe: Probe, settings: Settings) -> Iterator[Finding]:
    probe.subscribe(settings.root + "/gateway/status")
    probe.heard(settings.root + "/gateway/status", PATIENCE)
    probe.disconnect()
    again = probe.connect(session_expiry=0)
    if again.session_present:
        yield fine("the broker keeps a session while its client is away")
    else:
        yield failed(
            "the broker forgets a session when its client is away: commands sent meanwhile are lost",
            "set persistence true, and no limit on persistent clients",
        )


def _check_acl(probe: Probe, root: str) -> Iterator[Finding]:
    """Try to forge; the probe is connected, and leaves."""
    probe.subscribe(DROPPED)
    dropped = probe.heard(DROPPED, PATIENCE)
    if dropped is None:
        yield skipped(f"{DROPPED} does not come: no $SYS here, or the ACL keeps it from the gateway")
    elif int(dropped):
        yield warning(
            f"the broker has dropped {int(dropped)} messages since its start",
            "raise max_queued_messages and max_queued_bytes; look for a flooding client",
        )
    else:
        yield fine("the broker has dropped no message since its start")
    forged = f"{root}/cmd/doctor/doctor/doctor"
    yield _forge(probe, forged, "the gateway's own user")
    probe.disconnect()
    nobody = probe.as_nobody()
    try:
        granted = nobody.connect(session_expiry=0, clean_start=True)
        if granted.refusal:
            yield fine("the broker lets nobody in without a user")
        else:
            yield _forge(nobody, forged, "a client without a user")
    except (OSError, LinkLost):
        yield fine("the broker lets nobody in without a user")
    finally:
        nobody.disconnect()


def _forge(probe: Probe, topic: str, who: str) -> Finding:
    try:
        # a dry run of a command that does not exist: should it arrive, it is refused
        code = probe.publish(topic, _FORGED)
    except LinkLost:
        return fine(f"{who} cannot publish commands: the broker hangs up")
    if code.is_failure:
        return fine(f"{who} cannot publish commands: {code}")
    return failed(f"{who} can publish commands as any actor", _ACL)
