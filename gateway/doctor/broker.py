"""The broker: it lets the gateway in, keeps what it has to, and lets nobody pretend to be another."""

import os
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from secrets import token_hex
from typing import Any, Final

from gateway.adapters.mqtt_probe import Granted, Probe
from gateway.broker import link_options
from gateway.broker_acl import GATEWAY
from gateway.broker_drops import DROPPED
from gateway.doctor.certificates import common_name, judge_expiry
from gateway.doctor.findings import Finding, failed, fine, skipped, warning
from gateway.doctor.forgery import foreign_command, try_all, try_as_nobody, what_only_the_gateway_says
from gateway.doctor.keeping import PATIENCE, Absence, check_retained, own_topic
from gateway.errors import LinkLost
from gateway.settings import MqttSettings, Settings
from gateway.topics import Topics

_OTHER_ID: Final = "no use_username_as_clientid on the gateway's listener"
_UNLIMITED: Final = 65_535
"""Receive Maximum of a broker that tells none."""


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
        yield failed(f"the broker does not let {mqtt.username!r} in: {granted.refusal}", _login_remedy(mqtt))
        return
    if granted.session_present:
        probe.disconnect()
        yield failed(
            "the broker puts another client id in place of the gateway's, and the doctor took over its session",
            _OTHER_ID,
        )
        return
    yield fine("the broker lets the gateway in")
    yield from judge_grants(granted, mqtt)
    other = probe.as_another()
    try:
        yield from _look_around(
            probe, other, settings, keeps_retained=bool(granted.properties.get("RetainAvailable", 1))
        )
    except (OSError, LinkLost) as error:
        yield failed(f"the broker left in the middle of it: {error}", "look at the broker's log")
    finally:
        other.forget()
        probe.forget()


def _login_remedy(mqtt: MqttSettings) -> str:
    if mqtt.username and not mqtt.password.get_secret_value() and "CREDENTIALS_DIRECTORY" not in os.environ:
        return "only the units are given the password: systemctl start edge-gateway-doctor, and look into its journal"
    return "correct user and password"


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
    at_once = told.get("ReceiveMaximum", _UNLIMITED)
    sizes = "of any size" if largest is None else f"of {largest} bytes at most"
    yield fine(f"the broker takes {at_once} unconfirmed messages at once, packets {sizes}; of queues it tells nothing")


def _look_around(probe: Probe, other: Probe, settings: Settings, *, keeps_retained: bool) -> Iterator[Finding]:
    """One probe is away while the other tries everything else: what is to expire takes its time."""
    mqtt, root = settings.mqtt, settings.root
    topic = own_topic(probe, root, (mqtt.username, common_name(mqtt.tls.cert_file), GATEWAY), mqtt.session_expiry)
    status = _hear(probe, Topics(root).status)
    absence = Absence(probe, topic)
    if other.connect(session_expiry=0).session_present:
        yield failed("the broker takes all clients of the gateway's user for one", _OTHER_ID)
        return
    if topic:
        absence.publish(other)
        if keeps_retained:
            yield from check_retained(other, topic)
    yield judge_drops(_hear(other, DROPPED))
    yield from try_all(other, [foreign_command(root)], "the gateway's own user")
    other.disconnect()
    yield from try_as_nobody(probe.as_nobody(), [foreign_command(root), *what_only_the_gateway_says(root, status)])
    yield from absence.end()


def _hear(probe: Probe, topic: str) -> bytes | None:
    probe.subscribe(topic)
    return probe.heard(topic, PATIENCE)


def judge_drops(told: bytes | None) -> Finding:
    """What the broker says it has dropped."""
    if told is None:
        return skipped(f"{DROPPED} does not come: no $SYS here, or the ACL keeps it from the gateway")
    if int(told):
        return warning(
            f"the broker has dropped {int(told)} messages since its start",
            "raise max_queued_messages and max_queued_bytes; look for a flooding client",
        )
    return fine("the broker has dropped no message since its start")
