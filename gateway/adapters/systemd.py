"""What systemd is told, by its notification protocol: a few words in a datagram. Without systemd nothing is sent."""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Systemd:
    """The supervisor of this process. No call blocks, and none fails: who cannot listen is told nothing.

    Attributes:
        address: of its socket; empty where there is none.
        watchdog: seconds after which it takes the process for stuck; ``None`` where it does not watch.
    """

    address: str = ""
    watchdog: float | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Systemd":
        """The supervisor that these environment variables tell of."""
        given = environ.get("NOTIFY_SOCKET", "")
        # there are addresses of other kinds, which only virtual machines get
        address = given if given.startswith(("/", "@")) else ""
        try:
            microseconds = int(environ.get("WATCHDOG_USEC", "0"))
            watched = int(environ.get("WATCHDOG_PID", str(os.getpid())))
        except ValueError:
            microseconds = watched = 0
        is_watched = bool(address) and microseconds > 0 and watched == os.getpid()
        return cls(address, microseconds / 1e6 if is_watched else None)

    def ready(self) -> None:
        """The start, or a reload, is over."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload begins."""
        # with the time, or systemd takes an older signal's answer for this one's
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}")

    def stopping(self) -> None:
        """The end begins."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """What a person reads who asks how it goes."""
        self._send("STATUS=" + " ".join(text.split()))

    def alive(self) -> None:
        """The process gets on: the watchdog may wait anew."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as line:
            line.sendto(message.encode(errors="replace"), address)
