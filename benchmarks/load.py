"""The load generator, a process of its own: ``python -m benchmarks.load JSON``, the JSON being a :class:`Load`.

It speaks through raw sockets that never block, with packets that are put together from pieces encoded before: it must
never be what is measured, and says what share of a core it used. Prints a :class:`~benchmarks.figures.Turn` as JSON.
"""

import json
import os
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Final

from benchmarks import wire
from benchmarks.commands import Commands
from benchmarks.figures import Turn, percentile
from benchmarks.processes import cpu_seconds, resident_mib

CONNECTIONS: Final = 8
SETTLING: Final = 20.0
"""Seconds that the last answers may take, before something is wrong."""

_READ: Final = 262_144

_PARKED: Final = b'"code":202'
"""The command waits for its store, and its final answer is still to come."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, and whom to watch meanwhile.

    Attributes:
        fleet: what the names of its devices begin with.
        first: number of the first device.
        size: bytes of a report; 0: as few as it takes.
        window: commands of one device that may be without an answer; the next one is sent with the answer.
        rate: commands a second, of all devices together, sent when they are due; 0 sends by the window alone.
        commands: of each device, after which the load ends; 0 ends it by time.
        warm_up: seconds before it is measured.
        seconds: for which it is measured.
        port: of the broker.
        root: of the topics of the contender.
        watched: process id of the contender.
        broker: process id of the broker.
    """

    fleet: str
    devices: int
    window: int = 1
    rate: float = 0.0
    command: str = "report"
    commands: int = 0
    first: int = 0
    size: int = 0
    warm_up: float = 0.5
    seconds: float = 2.0
    port: int = 0
    root: str = ""
    watched: int = 0
    broker: int = 0

    @property
    def names(self) -> list[str]:
        """Of its devices."""
        return [f"{self.fleet}-{number}" for number in range(self.first, self.first + self.devices)]

    def at(self, port: int, root: str, watched: int, broker: int) -> "Load":
        """The same for one contender."""
        return replace(self, port=port, root=root, watched=watched, broker=broker)

    def lasting(self, warm_up: float, seconds: float) -> "Load":
        """The same for so long."""
        return replace(self, warm_up=warm_up, seconds=seconds)


class Line:
    """One connection, with what could not be written yet."""

    def __init__(self, connection: socket.socket, reader: wire.Reader) -> None:
        connection.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        self.socket = connection
        self.reader = reader
        self.unsent = bytearray()
        self._packet_id = 0

    def packet_id(self) -> bytes:
        """The next one; a broker has long confirmed the one before that was the same."""
        self._packet_id = self._packet_id % 65_535 + 1
        return self._packet_id.to_bytes(2)

    def flush(self) -> None:
        """Write what the socket takes."""
        if self.unsent:
            try:
                sent = self.socket.send(self.unsent)
            except BlockingIOError:
                return
            del self.unsent[:sent]


class Generator:
    """Sends, and takes the time of each answer."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._commands = Commands(load.root, load.names, load.command, load.size)
        self._lines = [Line(*self._connected(index)) for index in range(min(CONNECTIONS, load.devices))]
        self._left = [load.commands or sys.maxsize] * load.devices
        self._sent: dict[int, tuple[float, int]] = {}
        self._number = 0
        self._next_due = 0.0
        self._sending = True
        self.refused: list[bytes] = []
        self.latencies: list[float] = []

    def run(self) -> Turn:
        """The whole load.

        Raises:
            TimeoutError: an answer does not come.
        """
        with selectors.DefaultSelector() as selector:
            for line in self._lines:
                selector.register(line.socket, selectors.EVENT_READ, line)
            self._begin()
            self._drive(selector, self._load.warm_up)
            self.latencies.clear()
            began = self._used()
            self._drive(selector, self._load.seconds)
            turn = self._turn(began, self._used())
            self._sending = False
            self._drive(selector, SETTLING)
            if self._sent:
                raise TimeoutError(f"{len(self._sent)} commands were not answered")
            return turn

    def _connected(self, index: int) -> tuple[socket.socket, wire.Reader]:
        load = self._load
        topics = [f"{load.root}/ack/{one}/{one}" for one in load.names[index :: min(CONNECTIONS, load.devices)]]
        return wire.open_connection(load.port, f"load-{os.getpid()}-{index}", topics)

    def _begin(self) -> None:
        self._next_due = time.perf_counter()
        if not self._load.rate:
            for _ in range(self._load.window):
                for device in range(self._load.devices):
                    self._send(device, time.perf_counter())
        for line in self._lines:
            line.flush()

    def _drive(self, selector: selectors.BaseSelector, seconds: float) -> None:
        until = time.perf_counter() + seconds
        while (now := time.perf_counter()) < until and not self._is_done():
            if self._load.rate and self._sending:
                self._send_due(now)
            for key, _ in selector.select(self._patience(until)):
                self._receive(key.data)
            for line in self._lines:
                line.flush()

    def _is_done(self) -> bool:
        return not self._sent and (not self._sending or bool(self._load.commands))

    def _patience(self, until: float) -> float:
        if any(line.unsent for line in self._lines):
            return 0.0
        now = time.perf_counter()
        due = self._next_due if self._load.rate and self._sending else until
        return max(0.0, min(due, until, now + 0.1) - now)

    def _send_due(self, now: float) -> None:
        while self._next_due <= now:
            # its time counts from when it was due: a generator that is late must not make the contender look quick
            self._send(self._number % self._load.devices, self._next_due)
            self._next_due += 1 / self._load.rate
        for line in self._lines:
            line.flush()

    def _send(self, device: int, at: float) -> None:
        if not self._left[device]:
            return
        self._left[device] -= 1
        line = self._lines[device % len(self._lines)]
        line.unsent += self._commands.packet(device, self._number, line.packet_id())
        self._sent[self._number] = at, device
        self._number += 1

    def _receive(self, line: Line) -> None:
        received = line.socket.recv(_READ)
        if not received:
            raise ConnectionError("the broker hangs up")
        now = time.perf_counter()
        for packet in line.reader.packets(received):
            if packet.kind == wire.PUBLISH & 0xF0:
                message = wire.read_message(packet)
                line.unsent += wire.puback(message.packet_id)
                self._answered(message.payload, now)

    def _answered(self, answer: bytes, now: float) -> None:
        number = self._commands.number(answer)
        if _PARKED in answer:
            return
        sent = None if number is None else self._sent.pop(number, None)
        if sent is None:
            return
        at, device = sent
        self.latencies.append(now - at)
        if b'rejected"' in answer or b'deferred"' in answer:
            self.refused.append(answer)
        if self._sending and not self._load.rate:
            self._send(device, now)

    def _used(self) -> "_Used":
        watched, broker = (
            cpu_seconds(process) if process else 0.0 for process in (self._load.watched, self._load.broker)
        )
        return _Used(time.perf_counter(), time.process_time(), watched, broker)

    def _turn(self, began: "_Used", ended: "_Used") -> Turn:
        ordered, count = sorted(self.latencies), len(self.latencies)
        seconds = ended.clock - began.clock
        p50, p99, p999 = (percentile(ordered, share) * 1_000 for share in (0.5, 0.99, 0.999))
        return Turn(
            rate=count / seconds,
            p50=p50,
            p99=p99,
            p999=p999,
            longest=percentile(ordered, 1.0) * 1_000,
            cpu_us=(ended.watched - began.watched) / max(count, 1) * 1e6,
            rss_mib=resident_mib(self._load.watched) if self._load.watched else 0.0,
            generator=(ended.own - began.own) / seconds,
            broker=(ended.broker - began.broker) / seconds,
        )


@dataclass(frozen=True, slots=True)
class _Used:
    """Seconds, up to one moment: of the clock, and of the CPU by three processes."""

    clock: float
    own: float
    watched: float
    broker: float


def apply_load(load: Load) -> Turn:
    """Run the generator in a process of its own.

    Raises:
        RuntimeError: commands were refused, or not answered.
    """
    command = [sys.executable, "-m", "benchmarks.load", json.dumps(asdict(load))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        raise RuntimeError(f"{load.root}: {done.stderr.strip()}")
    return Turn(**json.loads(done.stdout))


def main() -> None:
    """Apply the load that the command line names."""
    generator = Generator(Load(**json.loads(sys.argv[1])))
    turn = generator.run()
    if generator.refused:
        sys.exit(f"{len(generator.refused)} commands were refused, such as: {generator.refused[0].decode()}")
    print(json.dumps(asdict(turn)))


if __name__ == "__main__":
    main()
