"""What the broker keeps for a client that is away, and for whoever comes later: tried, not believed.

All of it goes over a topic of the doctor's own, below the acknowledgements for the gateway itself: that is what the
rules of ``broker-config`` let its user both write and read, and nobody else listens there. Should the doctor be killed
in the middle, session and messages expire by themselves.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Final

from gateway.adapters.mqtt_probe import Heard, Probe
from gateway.doctor.findings import Finding, failed, fine, skipped
from gateway.errors import LinkLost

PATIENCE: Final = 1.0
"""Seconds for something to come that may never come."""

MESSAGES: Final = 150
"""More than a broker has under way at once, so that most of them have to wait in its queue."""

LIFETIME: Final = 60
"""Seconds that session and messages of the doctor last."""

EXPIRED: Final = 2.1
"""Seconds after which a message that lives for one is gone: mosquitto counts whole ones."""

_SHORT_LIVED: Final = b"expires"


def own_topic(probe: Probe, root: str, names: Iterable[str], session_expiry: int) -> str:
    """A topic of the doctor's own on which it hears what it publishes, the probe being connected; empty if none.

    Args:
        probe: connected, and again afterwards.
        root: of all topics.
        names: under which the broker may know the gateway.
        session_expiry: to ask for when it has to come again.

    Raises:
        LinkLost, OSError: the broker left, and does not come back.
    """
    for name in dict.fromkeys(filter(None, names)):
        topic = f"{root}/ack/{name}/{probe.options.client_id}"
        probe.subscribe(f"{topic}/echo")
        try:
            is_taken = not probe.publish(f"{topic}/echo", b"echo", expiry=LIFETIME).is_failure
        except LinkLost:
            is_taken = False
        if not is_taken:
            # mosquitto 2.0.11 hangs up over what follows a message that it has refused
            probe.disconnect()
            probe.connect(session_expiry=session_expiry)
        elif probe.heard(f"{topic}/echo", PATIENCE) is not None:
            return topic
    return ""


class Absence:
    """A session whose client is away for a moment, while another one publishes to it."""

    def __init__(self, probe: Probe, topic: str) -> None:
        """Leave with a probe that is connected; ``topic`` is its own, empty if it has none."""
        self._probe = probe
        self._topic = f"{topic}/parked" if topic else ""
        self._sent: list[bytes] = []
        self._expired_at = 0.0
        if topic:
            probe.subscribe(self._topic)
        probe.disconnect(session_expiry=LIFETIME)

    def publish(self, other: Probe) -> None:
        """Let another client publish what the session is to get: what expires at once, and much that does not.

        Raises:
            LinkLost: the broker left in the middle of it.
        """
        other.publish(self._topic, _SHORT_LIVED, expiry=1)
        self._expired_at = time.monotonic() + EXPIRED
        self._sent = [b"%d" % number for number in range(MESSAGES)]
        other.publish_all(self._topic, self._sent, expiry=LIFETIME)

    def end(self) -> Iterator[Finding]:
        """Come back: what is still there?

        Raises:
            LinkLost, OSError: the broker does not let the probe in again.
        """
        time.sleep(max(0.0, self._expired_at - time.monotonic()))
        if not self._probe.connect(session_expiry=0).session_present:
            yield failed(
                "the broker forgets a session when its client is away: commands sent meanwhile are lost",
                "set persistence true, and no limit on persistent clients",
            )
            return
        yield fine("the broker keeps a session while its client is away")
        if not self._topic:
            yield skipped("what it keeps cannot be tried: its rules keep from the gateway what is below its own ack/")
            return
        came = self._probe.heard_all(self._topic, MESSAGES, PATIENCE)
        if came and came[0].payload == _SHORT_LIVED:
            came = self._probe.heard_all(self._topic, MESSAGES + 1, PATIENCE)
        yield _judge_queue(self._sent, [heard.payload for heard in came if heard.payload != _SHORT_LIVED])
        if came:
            yield judge_expiry_of_messages(came)


def _judge_queue(sent: list[bytes], came: list[bytes]) -> Finding:
    # a broker may send a message twice
    once = list(dict.fromkeys(came))
    if missing := len(sent) - len(once):
        return failed(
            f"of {len(sent)} messages for a client that is away the broker has lost {missing}",
            "raise max_queued_messages and max_queued_bytes: edge-gateway broker-config --drop-in has good ones",
        )
    if once != sent:
        return failed("the broker mixes up messages for a client that is away", "use mosquitto 2.0.11 or newer")
    return fine(f"the broker keeps {len(sent)} messages for a client that is away, in order")


def judge_expiry_of_messages(came: Iterable[Heard]) -> Finding:
    """What is to be said of messages that were to expire, and came after a while."""
    if any(heard.payload == _SHORT_LIVED for heard in came):
        return failed("the broker delivers messages that have expired", "use mosquitto 2.0.11 or newer")
    if any(heard.expiry is None or heard.expiry >= LIFETIME for heard in came):
        return failed(
            "the broker does not tell for how long a message is still good: commands expire too late",
            "use mosquitto 2.0.11 or newer, and no bridge of MQTT 3.1.1 in between",
        )
    return fine("the broker drops what has expired, and tells how long the rest is good for")


def check_retained(probe: Probe, topic: str) -> Iterator[Finding]:
    """Write a retained message, read it as whoever subscribes later, and remove it.

    Raises:
        LinkLost: the broker left in the middle of it.
    """
    retained = f"{topic}/retained"
    probe.publish(retained, b"retained", retain=True, expiry=LIFETIME)
    try:
        probe.subscribe(retained)
        found = list(probe.heard_all(retained, 1, PATIENCE))
    finally:
        probe.publish(retained, b"", retain=True)
    if any(heard.is_retained for heard in found):
        yield fine("the broker keeps a retained message for whoever subscribes later")
    else:
        yield failed(
            "the broker does not keep a retained message: who subscribes later sees no state and no status",
            "set retain_available true, and raise memory_limit if it is reached",
        )
