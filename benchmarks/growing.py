"""What grows along each curve, and what is measured at its points. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.contenders.field import FLEET
from benchmarks.load import Load
from benchmarks.plots import Chart, Figure

RATE: Final = Figure("commands_per_second", "commands/s, saturated")
SATURATED: Final = Figure("cpu_us_saturated", "CPU µs, saturated", compared=True)
STEADY: Final = Figure("cpu_us_steady", "CPU µs, steady", compared=True)
SINGLE: Final = Figure("p50_ms_one_in_flight", "p50 ms, one in flight", ",.2f")
FIRST: Final = Figure("first_command_ms", "first command, ms", ",.1f")
AGAIN: Final = Figure("first_command_after_restart_ms", "after a restart, ms", ",.1f")
RESIDENT: Final = Figure("rss_mib", "RSS MiB")
ONLINE: Final = Figure("online_s", "online after s", ",.2f")
REBUILT: Final = Figure("rebuilt_s", "rebuilt in s", ",.1f")
FILE: Final = Figure("log_mib", "log MiB", ",.1f")
GENERATOR: Final = Figure("generator_share", "generator", ".0%")

FIGURES: Final = (
    RATE,
    SATURATED,
    STEADY,
    SINGLE,
    FIRST,
    AGAIN,
    RESIDENT,
    ONLINE,
    REBUILT,
    FILE,
    GENERATOR,
)
"""In the order in which they are told."""

BUSY: Final = 100
"""Devices that are saturated: as many commands as the gateway takes from the broker at once."""

CACHED: Final = 10_000
"""Devices whose state the gateway keeps in memory, as it comes."""

IN_TURN: Final = 1_000
"""Devices that take turns under the steady load of one round: more than it has commands."""

STEADILY: Final = 200.0
"""Commands a second, of all devices together."""

_KIBIBYTE: Final = 1_024


@dataclass(frozen=True, slots=True)
class Past:
    """A gateway at one point, and who sends to it.

    Attributes:
        devices: that it knows.
        events: in its log, before anything is sent.
        in_turn: devices that take turns under the steady load; as many as fit are in memory before.
        size: bytes of a report.
        alone: whether a single device sends everything, in each round another one that was not in memory.
    """

    devices: int
    events: int
    in_turn: int = BUSY
    size: int = 0
    alone: bool = False

    @property
    def in_memory(self) -> int:
        """Devices that have sent a command before anything is measured."""
        return 0 if self.alone else min(self.in_turn, CACHED)

    def first(self, number: int) -> Load:
        """One command of one device."""
        return Load(FLEET, 1, first=self._device(number), size=self.size, commands=1)

    def single(self, number: int) -> Load:
        """One in flight."""
        return Load(FLEET, 1, first=self._device(number), size=self.size)

    def saturated(self, number: int) -> Load:
        """As much as it takes."""
        if self.alone:
            return Load(FLEET, 1, window=BUSY, first=number, size=self.size)
        return Load(FLEET, BUSY, size=self.size)

    def steady(self, number: int) -> Load:
        """Now and then one, of one device after the other."""
        if self.alone:
            return Load(FLEET, 1, rate=STEADILY, first=number, size=self.size)
        # where not all fit into memory, those come that are not there: whoever takes turns is forgotten in between
        beyond = CACHED if self.in_turn > CACHED else 0
        room = self.in_turn - beyond
        devices = min(IN_TURN, room)
        first = beyond + number * devices % (room - devices + 1)
        return Load(FLEET, devices, rate=STEADILY, first=first, size=self.size)

    def _device(self, number: int) -> int:
        return number if self.alone else 0


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something that grows.

    Attributes:
        title: what it is.
        points: how far, by default; the first one is what the others are compared with.
        small: the same for a trial.
        past: what is measured at a point, in so many rounds.
        charts: what is drawn.
        label: of a point.
        fills: whether the log that the gateway finds grows with it.
    """

    title: str
    points: Sequence[int]
    small: Sequence[int]
    past: Callable[[int, int], Past]
    charts: Sequence[Chart]
    label: Callable[[int], str] = "{:,}".format
    fills: bool = True


def _bytes(size: int) -> str:
    return f"{size // _KIBIBYTE} KiB" if size >= _KIBIBYTE else f"{size} B"


_CPU: Final = Chart(
    "CPU of a command: saturated (bars), steady (line)", "times the smallest", SATURATED, STEADY, relative=True
)
_RESIDENT: Final = Chart("Resident memory", "MiB", RESIDENT)
_ONLINE: Final = Chart("From the start until online", "seconds", ONLINE)
_SINGLE: Final = Chart("p50 with one in flight", "milliseconds", SINGLE)
_FIRST: Final = Chart(
    "First command of a device: without (bars) and with a snapshot (line)", "milliseconds", FIRST, AGAIN
)

DIMENSIONS: Final = {
    "devices": Dimension(
        "devices",
        (100, 1_000, 10_000, 100_000),
        (100, 300),
        lambda point, _: Past(point, 2 * point, in_turn=point),
        (_CPU, _RESIDENT, _ONLINE),
    ),
    "events": Dimension(
        "events in the log",
        (10_000, 100_000, 1_000_000),
        (1_000, 5_000),
        lambda point, _: Past(min(1_000, point), point),
        (_CPU, _RESIDENT, _ONLINE),
    ),
    "payload": Dimension(
        "size of a report",
        (150, 1_024, 10_240, 61_440),
        (150, 1_024),
        lambda point, _: Past(1_000, 2_000, size=point),
        (_CPU, _SINGLE, _RESIDENT),
        label=_bytes,
        fills=False,
    ),
    "history": Dimension(
        "events of the device",
        (10, 1_000, 100_000),
        (10, 1_000),
        lambda point, rounds: Past(rounds, rounds * point, alone=True),
        (_CPU, _FIRST),
    ),
}
"""By name. With 10,000,000 events the log has 7 GB, and making it takes minutes."""
