"""Who may do what: an actor's role comes from the topic level that the broker has proven, and from the settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.domain.decider import Command, Role
from gateway.errors import NotPermitted

ANYTHING = ("*",)


@dataclass(frozen=True, slots=True)
class OperatorRule:
    """Actors that are operators, of which devices, and for which commands: names or glob patterns."""

    actors: tuple[str, ...]
    devices: tuple[str, ...] = ANYTHING
    commands: tuple[str, ...] = ANYTHING


class Access:
    """Decides the role of an actor towards a device."""

    def __init__(self, operators: Sequence[OperatorRule]) -> None:
        self.replace(operators)

    def replace(self, operators: Sequence[OperatorRule]) -> None:
        """From now on these are the rules."""
        self._rules = tuple(operators)

    def is_stranger(self, actor: str, device: str) -> bool:
        """Whether the actor is neither this device nor one of its operators."""
        return actor != device and not any(
            _matches(actor, rule.actors) and _matches(device, rule.devices) for rule in self._rules
        )

    def sees_all(self, actor: str) -> bool:
        """Whether the actor is an operator of every device."""
        return any(_matches(actor, rule.actors) and "*" in rule.devices for rule in self._rules)

    def devices_of(self, actor: str) -> tuple[str, ...]:
        """Names and patterns of the devices whose operator the actor is."""
        return tuple(device for rule in self._rules if _matches(actor, rule.actors) for device in rule.devices)

    def role(self, actor: str, device: str, command: type[Command]) -> Role:
        """The role in which this actor sends this command to this device.

        Raises:
            NotPermitted: there is none.
        """
        if actor == device and Role.DEVICE in command.issuers:
            return Role.DEVICE
        if Role.OPERATOR in command.issuers and any(
            _matches(actor, rule.actors) and _matches(device, rule.devices) and _matches(command.name, rule.commands)
            for rule in self._rules
        ):
            return Role.OPERATOR
        raise NotPermitted(f"{actor} may not send {command.name} to {device}")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
