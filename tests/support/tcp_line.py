"""One connection through the fault proxy: its two ends, its two directions, and what goes wrong on it."""

import asyncio
import math
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

CHUNK: Final = 65_536
TICK: Final = 0.05  # seconds that a chunk of a slow line may last, so that it trickles instead of coming in one burst
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
FINISH_ON_CLOSE: Final = struct.pack("ii", 0, 0)


class Direction(StrEnum):
    """Of the bytes on a connection."""

    TO_SERVER = "to_server"
    TO_CLIENT = "to_client"

    @property
    def opposite(self) -> "Direction":
        """The way back."""
        return Direction.TO_CLIENT if self is Direction.TO_SERVER else Direction.TO_SERVER


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong at present; by default nothing.

    Attributes:
        held: directions that are a black hole.
        ended: directions that are half-closed.
        latency: seconds that each chunk takes, whatever its size.
        bytes_per_second: in each direction of a connection.
        reset_after: least and most bytes that a connection may carry.
    """

    held: frozenset[Direction] = frozenset()
    ended: frozenset[Direction] = frozenset()
    latency: float = 0.0
    bytes_per_second: float = math.inf
    reset_after: tuple[int, int] | None = None

    @property
    def chunk(self) -> int:
        """Bytes to take at a time, at most."""
        return max(1, int(min(CHUNK, self.bytes_per_second * TICK)))

    def crossing(self, size: int) -> float:
        """Seconds that a chunk takes."""
        return self.latency + size / self.bytes_per_second


@dataclass(eq=False, slots=True)
class Connection:
    """The proxy's sockets towards client and server; reset when they are closed, unless :meth:`finish` came first.

    Attributes:
        allowance: bytes that it may still carry.
        pumps: what carries them, from when client and server are joined.
    """

    client: socket.socket
    allowance: float
    server: socket.socket = field(default_factory=socket.socket)
    pumps: dict[Direction, asyncio.Task[None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for end in (self.client, self.server):
            end.settimeout(0)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # no delays but those asked for
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)  # unless it ends in good order

    def source(self, direction: Direction) -> socket.socket:
        return self.client if direction is Direction.TO_SERVER else self.server

    def destination(self, direction: Direction) -> socket.socket:
        return self.source(direction.opposite)

    def end(self, direction: Direction) -> None:
        """Carry nothing more in this direction, and tell its receiver that this is the end."""
        if direction in self.pumps:  # else it is not joined yet, and ends as soon as it is
            self.pumps[direction].cancel()
            with suppress(OSError):
                self.destination(direction).shutdown(socket.SHUT_WR)

    def finish(self) -> None:
        """Let what is under way arrive when the sockets are closed."""
        for end in (self.client, self.server):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, FINISH_ON_CLOSE)

    def close(self) -> None:
        self.client.close()
        self.server.close()
