"""The read cache: documents as JSON in memory, in one file that any ``TinyDB(path)`` opens.

TinyDB's own way of writing rewrites and re-reads everything for each document. So each document is encoded once, when
it changes, and kept as that: as objects it would take three times as much memory, and the garbage collector would walk
through all of them. A thread writes the file from those pieces, and replaces it atomically.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import orjson
import structlog

from gateway import __version__
from gateway.adapters.heap import give_back, keep
from gateway.adapters.whole_file import replace_file
from gateway.codec import kept_json
from gateway.domain.decider import Document
from gateway.messages import Mark

log = structlog.get_logger()

CACHE_FILE: Final = "readmodel.json"
CHECKPOINT: Final = "checkpoint"
_RETRY: Final = 5.0
_PIECE: Final = 1_000
"""Documents that are written at a time: of a hundred thousand, the whole text would take as much memory again."""


class UnusableCacheError(Exception):
    """The file cannot be taken over; the message says why. The log has everything that was in it."""


class ReadCache:
    """Tables of documents by key; see :class:`~gateway.ports.ReadModel`.

    Attributes:
        path: of the file.
        log_id: of the log that the documents come from; ``None`` as long as there is nothing.
        dirty: set while there is something that the file does not have.
    """

    def __init__(self, path: Path, log_id: str | None = None) -> None:
        self.path = path
        self.log_id = log_id
        self.dirty = asyncio.Event()
        self._position = 0
        self._mark: Mark | None = None
        self._ids: dict[str, dict[str, int]] = {}
        self._encoded: dict[str, dict[int, bytes]] = {}
        self._flushing = asyncio.Lock()

    @property
    def position(self) -> int:
        """The last event that the documents reflect."""
        return self._position

    @property
    def mark(self) -> Mark | None:
        """That event's place and id."""
        return self._mark

    def get(self, table: str, key: str) -> Document | None:
        """The document under this key."""
        encoded = self.encoded(table, key)
        return None if encoded is None else orjson.loads(encoded)

    def encoded(self, table: str, key: str) -> bytes | None:
        """The same as JSON."""
        document_id = self._ids.get(table, {}).get(key)
        return None if document_id is None else self._encoded[table][document_id]

    def keys(self, table: str) -> Iterable[str]:
        """The key of every document of a table."""
        return self._ids.get(table, {}).keys()

    def rows(self, table: str) -> Iterable[bytes]:
        """Every document of a table as JSON."""
        return self._encoded.get(table, {}).values()

    def documents(self, table: str) -> Iterable[Document]:
        """Every document of a table."""
        return map(orjson.loads, self.rows(table))

    def tables(self) -> Mapping[str, Iterable[Document]]:
        """Every table with its documents."""
        return {name: self.documents(name) for name, rows in self._encoded.items() if rows}

    def put(self, table: str, key: str, document: Document) -> None:
        """Put a document in the place of the older one."""
        self.put_encoded(table, key, kept_json(document))

    def put_encoded(self, table: str, key: str, encoded: bytes) -> None:
        """The same with a document that is JSON already."""
        ids, rows = self._ids.setdefault(table, {}), self._encoded.setdefault(table, {})
        document_id = ids.get(key)
        if document_id is None:
            document_id = ids[key] = _free_id(key, rows)
        rows[document_id] = encoded

    def remove(self, table: str, key: str) -> None:
        """Take a document out, if it is there."""
        document_id = self._ids.get(table, {}).pop(key, None)
        if document_id is not None:
            del self._encoded[table][document_id]

    def advance(self, position: int, mark: Mark | None = None) -> None:
        """Say that the documents reflect the log up to here."""
        self._position, self._mark = position, mark
        self.dirty.set()

    def clear(self, log_id: str | None = None) -> None:
        """Start again with nothing, from now on of this log if one is named."""
        self.log_id = log_id or self.log_id
        self._ids.clear()
        self._encoded.clear()
        self.advance(0)

    def load(self) -> None:
        """Take over what the file has; whether it belongs to the log in use is the caller's question.

        Raises:
            UnusableCacheError: it is missing, damaged, or of another version. This object is then useless.
        """
        try:
            found = orjson.loads(self.path.read_bytes())
            [checkpoint] = found.pop(CHECKPOINT).values()
            log_id, is_ours = str(checkpoint["log_id"]), checkpoint["version"] == __version__
            for table, documents in found.items() if is_ours else ():
                for text, document in documents.items():
                    self._take_over(table, int(text), document)
            position, mark = int(checkpoint["position"]), _read_mark(checkpoint["mark"])
        except FileNotFoundError:
            raise UnusableCacheError("there is none") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnusableCacheError(f"it is damaged: {error!r}") from None
        if not is_ours:
            raise UnusableCacheError("it belongs to another version")
        self._position, self._mark, self.log_id = position, mark, log_id

    async def keep_flushed(self, interval: float) -> None:
        """Write the file so many seconds after the first change that it lacks, for ever. Idle, it writes nothing."""
        while True:
            await self.dirty.wait()
            await asyncio.sleep(interval)
            try:
                await self.flush()
            except OSError as error:
                pause = _RETRY + interval
                log.warning("read_cache_not_written", path=str(self.path), error=str(error), next_try_s=pause)
                await asyncio.sleep(_RETRY)

    async def flush(self) -> None:
        """Write the file, if it lacks anything. Documents and checkpoint are of one moment.

        Raises:
            OSError: the disk does not let it; the old file is still there.
        """
        async with self._flushing:
            if not self.dirty.is_set():
                return
            self.dirty.clear()
            checkpoint: dict[str, Any] = {"log_id": self.log_id, "version": __version__, "position": self._position}
            checkpoint["mark"] = self._mark and asdict(self._mark)
            moment = {table: dict(encoded) for table, encoded in self._encoded.items()}
            moment[CHECKPOINT] = {1: orjson.dumps(checkpoint)}
            writing = asyncio.create_task(asyncio.to_thread(_replace, self.path, moment), name="read cache writing")
            try:
                await asyncio.wait((writing,))
            finally:
                # a thread cannot be cancelled: whoever comes next must not write beside it
                await asyncio.wait((writing,))
                if writing.exception() is not None:
                    self.dirty.set()
            writing.result()

    def _take_over(self, table: str, document_id: int, document: Document) -> None:
        self._ids.setdefault(table, {})[str(document["id"])] = document_id
        self._encoded.setdefault(table, {})[document_id] = kept_json(document)


def open_cache(path: Path) -> ReadCache:
    """The cache from its file, or an empty one where the file cannot be used: the log fills it again."""
    cache = ReadCache(path)
    try:
        cache.load()
    except UnusableCacheError as error:
        log.info("read_cache_starts_empty", path=str(path), reason=str(error))
        cache = ReadCache(path)
    keep()
    return cache


def _read_mark(document: Any) -> Mark | None:  # noqa: ANN401 - whatever the file holds
    if document is None:
        return None
    event_id, recorded_at = UUID(document["event_id"]), datetime.fromisoformat(document["recorded_at"])
    return Mark(document["stream"], document["revision"], document["position"], event_id, recorded_at)


def _free_id(key: str, taken: Mapping[int, object]) -> int:
    """An id that TinyDB can read back and JavaScript can hold: 52 bits of the key's hash, or the next one free."""
    document_id = int.from_bytes(blake2b(key.encode(), digest_size=8).digest()) >> 12
    while document_id in taken:
        document_id = (document_id + 1) & (2**52 - 1)
    return document_id


def _replace(path: Path, tables: Mapping[str, Mapping[int, bytes]]) -> None:
    replace_file(path, _pieces(tables), 0o640)
    give_back()


def _pieces(tables: Mapping[str, Mapping[int, bytes]]) -> Iterator[bytes]:
    """The file's content, never all of it at once."""
    before_table = b"{"
    for name, rows in tables.items():
        yield b"%s%s:{" % (before_table, orjson.dumps(name))
        before_table, before_row = b"},", b""
        left = iter(rows.items())
        while piece := list(islice(left, _PIECE)):
            yield before_row + b",".join(b'"%d":%s' % row for row in piece)
            before_row = b","
    yield b"}}"
