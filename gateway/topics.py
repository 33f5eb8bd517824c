"""Every topic of the protocol is formatted and parsed here, and nowhere else."""

from dataclasses import dataclass

from gateway.errors import UnreadableTopic
from gateway.ids import is_name

_COMMAND_LEVELS = 3


@dataclass(frozen=True, slots=True)
class CommandTopic:
    """What a command's topic says: who sends, for which device, which command."""

    actor: str
    device: str
    command: str


class Topics:
    """The topics below one root, one or several levels such as ``edge/gw1``."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.commands = f"{root}/cmd/+/+/+"
        self.deadletter = f"{root}/deadletter"
        self.status = f"{root}/gateway/status"
        self.info = f"{root}/gateway/info"
        self.health = f"{root}/gateway/health"
        self._command_prefix = f"{root}/cmd/"

    def parse_command(self, topic: str) -> CommandTopic:
        """Read a command's topic.

        Raises:
            UnreadableTopic: it has not exactly the levels actor, device and command, or one is no valid name.
        """
        levels = topic.removeprefix(self._command_prefix).split("/")
        if not topic.startswith(self._command_prefix) or len(levels) != _COMMAND_LEVELS:
            raise UnreadableTopic("a command topic is {root}/cmd/{actor}/{device}/{command}")
        if not all(map(is_name, levels)):
            raise UnreadableTopic("actor, device and command are each 1 to 64 of A-Z a-z 0-9 . _ : -, no sign first")
        return CommandTopic(*levels)

    def command(self, actor: str, device: str, command: str) -> str:
        """Where an actor publishes a command."""
        return f"{self._command_prefix}{actor}/{device}/{command}"

    def ack(self, actor: str, device: str) -> str:
        """Where acknowledgements go unless the command names a Response Topic."""
        return f"{self.root}/ack/{actor}/{device}"

    def may_answer_on(self, topic: str, actor: str) -> bool:
        """Whether a Response Topic lies in the actor's own acknowledgement subtree."""
        below = topic.removeprefix(f"{self.root}/ack/{actor}/")
        return below not in {topic, ""} and not {"+", "#"} & set(below)

    def state(self, device: str) -> str:
        """The device's retained state."""
        return f"{self.root}/state/{device}"

    def config(self, device: str) -> str:
        """The device's retained desired properties."""
        return f"{self.root}/config/{device}"

    def event(self, device: str, event_type: str) -> str:
        """The feed of one device's events of one type."""
        return f"{self.root}/event/{device}/{event_type}"
