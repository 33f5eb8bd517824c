"""A connection between broker and gateway."""

from collections.abc import Callable

from tests.simulation.world import World


class Wire:
    """One connection: bytes arrive in order, until the one or the other side notices that it is broken."""

    def __init__(self, world: World) -> None:
        self.broker_side = True
        self.client_side = True
        self.on_client_close: Callable[[], None] = _nothing
        self._world = world
        self._last = {"broker": 0.0, "client": 0.0}

    def to_broker(self, action: Callable[[], None]) -> None:
        self._send("broker", lambda: action() if self.broker_side else None)

    def to_client(self, action: Callable[[], None]) -> None:
        self._send("client", lambda: action() if self.client_side else None)

    def cut(self, *, skew: float = 0.5) -> None:
        """Both sides notice, each in its own time."""
        later, dice = self._world.loop.call_later, self._world.dice
        later(dice.uniform(0, skew), self.close_broker_side)
        later(dice.uniform(0, skew), self.close_client_side)

    def close_broker_side(self) -> None:
        self.broker_side = False

    def close_client_side(self) -> None:
        if self.client_side:
            self.client_side = False
            self.on_client_close()

    def _send(self, to: str, arrive: Callable[[], None]) -> None:
        slow = 0.3 if self._world.chance(0.05) else 0.02
        at = max(self._last[to], self._world.loop.time() + self._world.dice.uniform(0.0005, slow))
        # in order: not at the same time as the one before
        self._last[to] = at + 1e-6
        self._world.loop.call_at(self._last[to], arrive)


def _nothing() -> None: ...
