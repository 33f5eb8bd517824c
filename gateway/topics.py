"""Every topic of the protocol is formatted and parsed here, and nowhere else."""

from functools import lru_cache
from typing import Final

from gateway.errors import UnreadableTopic
from gateway.ids import is_name
from gateway.records import dataclass

_COMMAND_LEVELS = 3
_QUERY_LEVELS = 2
_LONGEST_REPLY_TOPIC: Final = 512
_REMEMBERED: Final = 4_096
"""Topics of commands that are parsed already; one takes 0.4 KiB."""

_MOST_REPLY_LEVELS: Final = 32
"""Below the actor's. A broker hangs up over a topic with too many (mosquitto: 200), and the command comes again."""


@dataclass(frozen=True, slots=True)
class CommandTopic:
    """What a command's topic says: who sends, for which device, which command."""

    actor: str
    device: str
    command: str


@dataclass(frozen=True, slots=True)
class QueryTopic:
    """What a query's topic says: who asks, and what."""

    actor: str
    query: str


class Topics:
    """The topics below one root, one or several levels such as ``edge/gw1``."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.commands = f"{root}/cmd/+/+/+"
        self.deadletter = f"{root}/deadletter"
        self.status = f"{root}/gateway/status"
        self.info = f"{root}/gateway/info"
        self.health = f"{root}/gateway/health"
        self.queries = f"{root}/query/+/+"
        self._command_prefix = f"{root}/cmd/"
        self._query_prefix = f"{root}/query/"
        # devices send the same commands again and again
        self._parsed = lru_cache(_REMEMBERED)(self._parse_command)

    def parse_command(self, topic: str) -> CommandTopic:
        """Read a command's topic.

        Raises:
            UnreadableTopic: it has not exactly the levels actor, device and command, or one is no valid name.
        """
        return self._parsed(topic)

    def _parse_command(self, topic: str) -> CommandTopic:
        levels = topic.removeprefix(self._command_prefix).split("/")
        if not topic.startswith(self._command_prefix) or len(levels) != _COMMAND_LEVELS:
            raise UnreadableTopic("a command topic is {root}/cmd/{actor}/{device}/{command}")
        if not all(map(is_name, levels)):
            raise UnreadableTopic("actor, device and command are each 1 to 64 of A-Z a-z 0-9 . _ : -, no sign first")
        return CommandTopic(*levels)

    def is_query(self, topic: str) -> bool:
        """Whether it is a query's topic, or was meant to be one."""
        return topic.startswith(self._query_prefix)

    def parse_query(self, topic: str) -> QueryTopic:
        """Read a query's topic.

        Raises:
            UnreadableTopic: it has not exactly the levels actor and query, or one is no valid name.
        """
        levels = topic.removeprefix(self._query_prefix).split("/")
        if not self.is_query(topic) or len(levels) != _QUERY_LEVELS or not all(map(is_name, levels)):
            raise UnreadableTopic("a query topic is {root}/query/{actor}/{query}")
        return QueryTopic(*levels)

    def answer(self, actor: str, query: str) -> str:
        """Where answers go unless the query names a Response Topic."""
        return f"{self.root}/answer/{actor}/{query}"

    def query(self, actor: str, query: str) -> str:
        """Where an actor asks."""
        return f"{self._query_prefix}{actor}/{query}"

    def command(self, actor: str, device: str, command: str) -> str:
        """Where an actor publishes a command."""
        return f"{self._command_prefix}{actor}/{device}/{command}"

    def ack(self, actor: str, device: str) -> str:
        """Where acknowledgements go unless the command names a Response Topic."""
        return f"{self.root}/ack/{actor}/{device}"

    def may_answer_on(self, topic: str, actor: str) -> bool:
        """Whether a Response Topic lies in the actor's own acknowledgement subtree."""
        return _is_below(topic, f"{self.root}/ack/{actor}/")

    def may_be_told_on(self, topic: str, actor: str) -> bool:
        """Whether a Response Topic lies in the actor's own subtree of answers."""
        return _is_below(topic, f"{self.root}/answer/{actor}/")

    def state(self, device: str) -> str:
        """The device's retained state."""
        return f"{self.root}/state/{device}"

    def config(self, device: str) -> str:
        """The device's retained desired properties."""
        return f"{self.root}/config/{device}"

    def event(self, device: str, event_type: str) -> str:
        """The feed of one device's events of one type."""
        return f"{self.root}/event/{device}/{event_type}"


def _is_below(topic: str, prefix: str) -> bool:
    """Whether a topic lies below another, and is none to hang up over."""
    below = topic.removeprefix(prefix)
    is_sound = below.isprintable() and len(below) <= _LONGEST_REPLY_TOPIC and below.count("/") < _MOST_REPLY_LEVELS
    return is_sound and below not in {topic, ""} and not {"+", "#"} & set(below)
