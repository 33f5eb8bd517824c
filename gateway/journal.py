"""Log events straight to systemd's journal, each field on its own: ``journalctl COMMAND_ID=c-77`` finds a command."""

import errno
import fcntl
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

import orjson

SOCKET: Final = Path("/run/systemd/journal/socket")
STREAM_VARIABLE: Final = "JOURNAL_STREAM"
IDENTIFIER: Final = "edge-gateway"

_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_FIELD: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
# "message" is the journal's own field: what we call so is another one
_OTHER_NAMES: Final = {"EVENT": "", "LEVEL": "", "EXC_INFO": "", "MESSAGE": "TEXT", "PRIORITY": "GATEWAY_PRIORITY"}
_TOO_LARGE: Final = frozenset({errno.EMSGSIZE, errno.ENOBUFS})


def is_journal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether systemd has connected this stream to the journal."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False  # it is closed, or in memory
    return environ.get(STREAM_VARIABLE) == f"{status.st_dev}:{status.st_ino}"


class Journal:
    """Sends events. The journal must not hold the gateway up: what it does not take is counted, and told later.

    Attributes:
        lost: events that it has not taken since it last took one.
    """

    def __init__(self, path: Path = SOCKET) -> None:
        self.lost = 0
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)

    def msg(self, **event: object) -> None:
        """Send one event; fields are named as in the log lines."""
        try:
            if self.lost:
                self._send(datagram({"level": "warning", "event": "log_lines_lost", "lines": self.lost}))
                self.lost = 0
            self._send(datagram(event))
        except OSError:
            # there is no other place to say so
            self.lost += 1

    debug = info = warning = error = critical = exception = msg

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def _send(self, payload: bytes) -> None:
        try:
            self._socket.sendto(payload, self._path)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            self._send_as_file(payload)

    def _send_as_file(self, payload: bytes) -> None:
        memory = os.memfd_create(IDENTIFIER, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(memory, "wb") as file:  # noqa: PTH123 - it has no path
            file.write(payload)
            file.flush()
            # the journal takes only what nobody can change any more
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
            # send_fds() takes an address and ignores it
            files = (socket.SOL_SOCKET, socket.SCM_RIGHTS, memory.to_bytes(4, sys.byteorder))
            self._socket.sendmsg([], [files], 0, self._path)


def datagram(event: Mapping[str, object]) -> bytes:
    """An event in the journal's own format; a list becomes a field for each of its entries."""
    told = {name: value for name, value in event.items() if name not in {"event", "level", "exception"}}
    summary = " ".join((str(event.get("event")), *(f"{name}={_text(value)!r}" for name, value in told.items())))
    if "exception" in event:
        summary += f"\n{event['exception']}"
    fields = [
        ("MESSAGE", summary),
        ("PRIORITY", str(_PRIORITIES.get(str(event.get("level")), 6))),
        ("SYSLOG_IDENTIFIER", IDENTIFIER),
        ("EVENT", str(event.get("event"))),
        *_own_fields(event),
    ]
    return b"".join(_encoded(name, value) for name, value in fields)


def _own_fields(event: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in event.items():
        name = key.upper()
        name = _OTHER_NAMES.get(name, name)
        if _FIELD.fullmatch(name) and value is not None:
            for one in value if isinstance(value, list | tuple) else (value,):
                yield name, _text(one)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    with suppress(orjson.JSONEncodeError):
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    return repr(value)


def _encoded(name: str, value: str) -> bytes:
    content = value.encode(errors="backslashreplace")
    if b"\n" not in content:
        return b"%s=%s\n" % (name.encode(), content)
    # with its length: otherwise a sender's line break would begin a field of his choice
    return b"%s\n%s%s\n" % (name.encode(), len(content).to_bytes(8, "little"), content)
