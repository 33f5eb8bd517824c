"""Every aggregate that this gateway serves, looked up by the names that appear on the wire."""

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.domain.decider import Command, Decider, Event


class Catalogue:
    """The deciders in force, indexed by command name, event type and category."""

    def __init__(self, deciders: Iterable[Decider[Any]]) -> None:
        """Index the deciders.

        Raises:
            ValueError: two of them claim the same category, collection, command name or event type.
        """
        self._deciders = tuple(deciders)
        self._categories: dict[str, Decider[Any]] = {}
        self._commands: dict[str, tuple[type[Command], Decider[Any]]] = {}
        self._events: dict[str, type[Event]] = {}
        collections: set[str] = set()
        for decider in self._deciders:
            if "-" in decider.category:
                raise ValueError(f"category {decider.category!r} must not contain '-'")
            names = [
                ("category", decider.category, self._categories),
                ("collection", decider.collection, collections),
                *(("command", command.name, self._commands) for command in decider.commands),
                *(("event type", event.__name__, self._events) for event in decider.events),
            ]
            for kind, name, taken in names:
                if name in taken:
                    raise ValueError(f"{kind} {name!r} is claimed twice")
            self._categories[decider.category] = decider
            collections.add(decider.collection)
            self._commands |= {command.name: (command, decider) for command in decider.commands}
            self._events |= {event.__name__: event for event in decider.events}

    def __iter__(self) -> Iterator[Decider[Any]]:
        """The deciders, in the order given."""
        return iter(self._deciders)

    def command(self, name: str) -> tuple[type[Command], Decider[Any]] | None:
        """The command of this name and the aggregate it is for."""
        return self._commands.get(name)

    def event(self, type_name: str) -> type[Event] | None:
        """The event class of this name on the wire."""
        return self._events.get(type_name)

    def locate(self, stream: str) -> tuple[Decider[Any], str] | None:
        """The aggregate and the device id that a stream's name stands for; ``None`` for a foreign stream."""
        category, dash, device = stream.partition("-")
        decider = self._categories.get(category)
        return (decider, device) if decider is not None and dash else None


def stream_of(decider: Decider[Any], device: str) -> str:
    """The stream that holds this device's events."""
    return f"{decider.category}-{device}"
