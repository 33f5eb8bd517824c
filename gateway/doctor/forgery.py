"""Whether the broker's rules hold: the doctor tries to pass for others, with messages that do no harm should they."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from gateway.adapters.mqtt_probe import Probe
from gateway.doctor.findings import Finding, failed, fine
from gateway.errors import LinkLost
from gateway.topics import Topics

_COMMAND: Final = b'{"command_id": "doctor", "dry_run": true}'
"""Of a command that does not exist: a gateway that gets it refuses it."""

_ACTORS: Final = "tie the actor level to the user in the broker's ACL: pattern write <root>/cmd/%u/#"
_OURS: Final = "let only the gateway's user write there: edge-gateway broker-config --acl prints such rules"


@dataclass(frozen=True, slots=True)
class Forgery:
    """A message that only somebody else may send."""

    what: str
    topic: str
    payload: bytes
    remedy: str


def foreign_command(root: str, actor: str = "doctor") -> Forgery:
    """In the name of an actor who does not exist."""
    topic = Topics(root).command(actor, "doctor", "doctor")
    return Forgery("commands as any actor", topic, _COMMAND, _ACTORS)


def what_only_the_gateway_says(root: str, status: bytes | None) -> Iterable[Forgery]:
    """None is retained, and none says anything that is not so.

    Args:
        root: of all topics.
        status: what the gateway has said of itself: whoever listens is told the same once more; ``None`` if that is
            unknown, and then another topic of the gateway has to do.
    """
    topics = Topics(root)
    own = topics.status if status else f"{root}/gateway/doctor"
    yield Forgery("acknowledgements", topics.ack("doctor", "doctor"), b'{"command_id": "doctor"}', _OURS)
    yield Forgery("states of devices", topics.state("doctor"), b"", _OURS)
    yield Forgery("the gateway's status", own, status or b"{}", _OURS)


def try_all(probe: Probe, forgeries: Iterable[Forgery], who: str) -> Iterator[Finding]:
    """Publish each over a connection of its own: mosquitto 2.0.11 hangs up over what follows one that it has refused.

    Raises:
        LinkLost, OSError: the broker left, and does not come back.
    """
    for forgery in forgeries:
        probe.disconnect()
        probe.connect(session_expiry=0, clean_start=True)
        try:
            code = probe.publish(forgery.topic, forgery.payload)
        except LinkLost:
            yield fine(f"{who} cannot publish {forgery.what}: the broker hangs up")
            continue
        if code.is_failure:
            yield fine(f"{who} cannot publish {forgery.what}: {code}")
        else:
            yield failed(f"{who} can publish {forgery.what}", forgery.remedy)


def try_as_nobody(nobody: Probe, forgeries: Iterable[Forgery]) -> Iterator[Finding]:
    """Come without user, password and certificate, and forge if let in.

    Raises:
        LinkLost, OSError: the broker let it in, left, and does not come back.
    """
    try:
        is_in = not nobody.connect(session_expiry=0, clean_start=True).refusal
    except (OSError, LinkLost):
        is_in = False
    try:
        if is_in:
            yield from try_all(nobody, forgeries, "a client without a user")
        else:
            yield fine("the broker lets nobody in without a user")
    finally:
        nobody.disconnect()
