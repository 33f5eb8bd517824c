"""The packets of one load: fixed pieces, between which only ids and numbers change."""

import time
from collections.abc import Sequence
from typing import Final

from benchmarks import wire

_PER_MILLISECOND: Final = 16
"""More than anybody answers."""

_DATA: Final[dict[str, tuple[bytes, bytes]]] = {
    "register": (b'","data":{"model":"T-1000"}}', b""),
    "connect": (b'","data":{"firmware":"1.0"}}', b""),
    "report": (b'","data":{"properties":{"temperature":41.5,"rpm":1', b"}}}"),
}
"""What follows the id of a command; of a report it has a number in it."""

_DIGITS: Final = 9
_PLACE: Final = b"\0" * _DIGITS
"""Where the number of a report stands in each of its texts, too."""

_TEXT: Final = b',"text_%02d":"' + _PLACE + b'%b"'
_BARE: Final = len(_TEXT % (0, b""))
_LONGEST: Final = 4_000
"""Bytes of one text: the gateway takes values of up to 4 KiB."""


class Commands:
    """Makes the packets of one run.

    Args:
        root: of the topics.
        devices: their names.
        command: that each of them sends.
        size: bytes of a report; what it needs besides is texts that change with each one. 0: as few as it takes.

    Raises:
        ValueError: a report cannot have just so many bytes.
    """

    def __init__(self, root: str, devices: Sequence[str], command: str, size: int = 0) -> None:
        # of the form of a version 7 UUID, whose order in time spares a database's indices
        now = time.time_ns() // 1_000_000
        self.mark = b"%08x-%04x-7000-8000-" % (now >> 16, now & 0xFFFF)
        # a device must not report what it told at the end of an earlier run: nothing would change
        self._first = now * _PER_MILLISECOND
        self._head = b'{"command_id":"' + self.mark
        self._tail, self._end = _DATA[command]
        least = len(self._head) + 12 + len(self._tail) + (_DIGITS + len(self._end) if self._end else 0)
        if size:
            self._end = _texts(size - least) + self._end
        length = max(size, least)
        self._openings = []
        for device in devices:
            topic = f"{root}/cmd/{device}/{device}/{command}".encode()
            remaining = wire.remaining_length(2 + len(topic) + 2 + length)
            self._openings.append(bytes((wire.PUBLISH,)) + remaining + len(topic).to_bytes(2) + topic)

    def packet(self, device: int, number: int, packet_id: bytes) -> bytes:
        """A command; its number stands in its id, and in what it reports, so that each one changes something."""
        opening, text = self._openings[device], b"%012x" % number
        value = b"%09d" % ((self._first + number) % 1_000_000_000) if self._end else b""
        end = self._end.replace(_PLACE, value)
        return b"".join((opening, packet_id, self._head, text, self._tail, value, end))

    def number(self, answer: bytes) -> int | None:
        """Of the command that is answered; ``None`` where it is none of this run's."""
        at = answer.find(self.mark)
        if at < 0:
            return None
        at += len(self.mark)
        return int(answer[at : at + 12], 16)


def _texts(size: int) -> bytes:
    """Properties of so many bytes, all of about the same length."""
    count = -(-size // _LONGEST)
    if size < _BARE * count or not count:
        raise ValueError(f"a report has no room for texts of {size} bytes")
    shares = [size // count + (number < size % count) for number in range(count)]
    return b"".join(_TEXT % (number, b"x" * (share - _BARE)) for number, share in enumerate(shares))
