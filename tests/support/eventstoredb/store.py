"""The log on a file, and the news of every commit."""

import asyncio
import os
import pickle
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.support.eventstoredb.log import EventLog
from tests.support.eventstoredb.records import Answer, Committed, Proposed, Record

HEAD: Final = struct.Struct(">II")
"""Of what one commit wrote: its length in bytes, and its CRC 32."""


class News:
    """Wakes everybody who waits for something to happen."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    @property
    def next(self) -> asyncio.Event:
        """Set when something happens after it was taken."""
        return self._next

    def announce(self) -> None:
        """Something happened."""
        self._next.set()
        self._next = asyncio.Event()


class Store:
    """Appends to the log, and to its file before anybody hears of it.

    Attributes:
        log: read from here, never written.
        news: of every commit.
    """

    def __init__(self, path: Path | None, *, remembered_ids: int) -> None:
        """Open the file, or begin it.

        Args:
            path: of the file; ``None`` for a log that ends with this object.
            remembered_ids: how many ids an append with ANY is compared with.
        """
        self.news = News()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600) if path else None
        self.log = EventLog(self._read() if path else (), remembered_ids=remembered_ids)
        self._keep(self.log.begin(_now()))

    def append(self, stream: str, expected: int, events: Sequence[Proposed]) -> Answer:
        """Append the events; what they were answered with lasts."""
        return self._commit(lambda now: self.log.append(stream, expected, events, now))

    def delete(self, stream: str, expected: int) -> Answer:
        """Delete the stream for now."""
        return self._commit(lambda now: self.log.delete(stream, expected, now))

    def tombstone(self, stream: str, expected: int) -> Answer:
        """Delete the stream for good."""
        return self._commit(lambda now: self.log.tombstone(stream, expected, now))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)

    def _commit(self, write: Callable[[int], Answer]) -> Answer:
        answer = write(_now())
        if isinstance(answer, Committed):
            self._keep(answer.records)
            self.news.announce()
        return answer

    def _keep(self, records: Sequence[Record]) -> None:
        if self._file is not None and records:
            frame = pickle.dumps([tuple(record) for record in records])
            os.write(self._file, HEAD.pack(len(frame), zlib.crc32(frame)) + frame)

    def _read(self) -> Iterator[Record]:
        assert self._file is not None
        whole = 0
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            while len(head := file.read(HEAD.size)) == HEAD.size:
                length, checksum = HEAD.unpack(head)
                frame = file.read(length)
                if len(frame) < length or zlib.crc32(frame) != checksum:
                    break
                whole = file.tell()
                yield from (Record(*fields) for fields in pickle.loads(frame))
        os.truncate(self._file, whole)  # a commit that was cut off was never answered


def _now() -> int:
    return time.time_ns() // 100
