"""The broker's access rules, for mosquitto's ``acl_file``: what ties the actor in a topic to the authenticated user.

mosquitto puts the user's name in place of ``%u``. The patterns have exactly as many levels as the topics, so that a
user whose name holds a ``/`` can publish nothing that the gateway would read.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from gateway.access import ANYTHING, Access, OperatorRule
from gateway.errors import SettingsError
from gateway.ids import is_name

GATEWAY: Final = "_gateway"
"""The gateway's name at the broker, unless the settings have another. It is no name that a device could have."""

HOMEASSISTANT: Final = "homeassistant"
"""Home Assistant's name at the broker, and as an actor."""

Grant = tuple[str, str]
"""``read`` or ``write``, and a topic filter below a root."""

_HEAD: Final = """\
# Who may publish and read what below "{root}". Written by "edge-gateway broker-config --acl".
# Keep everything behind the first "user": what stands before it holds for clients without a name."""

_OF_THE_GATEWAY: Final[Sequence[Grant]] = (
    ("read", "cmd/+/+/+"),
    ("read", "query/+/+"),
    ("write", "ack/#"),
    ("write", "answer/#"),
    ("write", "state/+"),
    ("write", "config/+"),
    ("write", "event/+/+"),
    ("write", "gateway/+"),
    ("write", "deadletter"),
)
_OF_THE_GATEWAY_FOR_HOMEASSISTANT: Final[Sequence[Grant]] = (("write", "device/+/config"), ("read", "status"))
_STATES: Final[Sequence[Grant]] = (("read", "state/+"),)
_OF_HOMEASSISTANT: Final[Sequence[Grant]] = (("read", "#"), ("write", "status"))
_OF_A_WATCHER: Final[Sequence[Grant]] = (("read", "gateway/+"),)
_OF_AN_OPERATOR: Final[Sequence[Grant]] = (
    ("read", "state/+"),
    ("read", "config/+"),
    ("read", "event/+/+"),
    ("read", "gateway/+"),
    ("read", "deadletter"),
)
_OF_EACH_USER: Final[Sequence[Grant]] = (
    ("write", "cmd/%u/+/+"),
    ("read", "ack/%u/#"),
    ("write", "query/%u/+"),
    ("read", "answer/%u/#"),
    ("read", "state/%u"),
    ("read", "config/%u"),
    ("read", "event/%u/+"),
    ("read", "gateway/status"),
    ("read", "gateway/info"),
)


def acl(
    root: str,
    rules: Sequence[OperatorRule],
    *,
    gateway: str = GATEWAY,
    operators: Iterable[str] = (),
    homeassistant: str | None = None,
) -> str:
    """The text of the file.

    Args:
        root: of all topics.
        rules: who is an operator, and of what.
        gateway: its own name at the broker.
        operators: names of those whom the rules know by a pattern only.
        homeassistant: root of Home Assistant's own topics, if it is to show the devices.

    Raises:
        SettingsError: something in it cannot be said in such a file, or would open it to others.
    """
    _check("mqtt.root", root)
    if not gateway.startswith("_") or not is_name(gateway[1:]):
        raise SettingsError(f"mqtt.username: must begin with _, such as {GATEWAY}: a device could be named {gateway!r}")
    named = {name for rule in rules for name in rule.actors if is_name(name)}
    access = Access(rules)
    sections = [
        _HEAD.format(root=root),
        _user("the gateway itself; it asks what was dropped", gateway, root, _OF_THE_GATEWAY)
        + "\ntopic read $SYS/broker/publish/messages/dropped",
        *_homeassistant(gateway, root, homeassistant),
        _user("what watches gateway and broker: reads, and sends nothing", "_metrics", root, _OF_A_WATCHER)
        + "\ntopic read $SYS/#",
        *(_operator(name, access.devices_of(name), root) for name in sorted(named.union(operators))),
        "# every user, a device by its certificate's name and a person by the user name: what is his own, and whether\n"
        "# the gateway is there, which is the same for all (mosquitto warns of it, because no %u stands in it)\n"
        + _lines("pattern", root, _OF_EACH_USER),
    ]
    return "\n\n".join(sections) + "\n"


def _homeassistant(gateway: str, root: str, prefix: str | None) -> Sequence[str]:
    if prefix is None:
        return ()
    _check("homeassistant.prefix", prefix)
    reads = _user(
        "Home Assistant: sees every device, and commands what the settings permit", HOMEASSISTANT, root, _STATES
    )
    return (
        _user("the gateway tells Home Assistant of the devices", gateway, prefix, _OF_THE_GATEWAY_FOR_HOMEASSISTANT),
        f"{reads}\n{_lines('topic', prefix, _OF_HOMEASSISTANT)}",
    )


def _check(setting: str, root: str) -> None:
    if "%" in root or not root.isprintable() or root != root.strip():
        raise SettingsError(f"{setting}: {root!r} cannot stand in an access rule")


def _operator(name: str, devices: Sequence[str], root: str) -> str:
    if not is_name(name) or not devices:
        raise SettingsError(f"{name!r} is no operator in the settings")
    if ANYTHING[0] in devices:
        return _user("an operator of all devices", name, root, _OF_AN_OPERATOR)
    known = sorted(filter(is_name, devices))
    grants = [("read", below) for one in known for below in (f"state/{one}", f"config/{one}", f"event/{one}/+")]
    of = "an operator of some devices"
    if len(known) < len(set(devices)):
        of += "; of those that the settings name by a pattern, which no rule here can say, he asks the gateway"
    return _user(of, name, root, (*grants, ("read", "gateway/health")))


def _user(comment: str, name: str, root: str, grants: Sequence[Grant]) -> str:
    return f"# {comment}\nuser {name}\n{_lines('topic', root, grants)}"


def _lines(kind: str, root: str, grants: Sequence[Grant]) -> str:
    return "\n".join(f"{kind} {access} {root}/{below}" for access, below in grants)
