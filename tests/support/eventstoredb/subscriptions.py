"""The call Read, for all events that are there and that will be."""

from collections import deque
from contextlib import suppress
from time import time_ns
from typing import Any, Final, NamedTuple, Protocol
from uuid import uuid4

from tests.support.eventstoredb import refusals
from tests.support.eventstoredb.commits import hang
from tests.support.eventstoredb.faults import Kind
from tests.support.eventstoredb.filters import Matches, checkpoint_interval, read_filter
from tests.support.eventstoredb.log import EventLog, Existence
from tests.support.eventstoredb.node import Node
from tests.support.eventstoredb.protos import grpc, streams_pb2
from tests.support.eventstoredb.reads import Send, event, start_index
from tests.support.eventstoredb.records import NO_STREAM, Record
from tests.support.eventstoredb.wire import read_stream

LIVE_BUFFER: Final = 32
"""Events that wait for a live subscriber; with more, it is too slow."""


class Checkpoint(NamedTuple):
    """Everything up to this position was considered."""

    position: int


Step = Record | Checkpoint


class Cursor(Protocol):
    """A place in the log that moves on."""

    def next(self) -> Step | None:
        """What the subscriber gets next; ``None`` at the end, where there may be more later."""
        ...

    def checkpoint(self) -> Checkpoint | None:
        """Where it is now; ``None`` for one that has no checkpoints."""
        ...


class AllCursor:
    """Through the whole log."""

    def __init__(self, log: EventLog, index: int, matches: Matches, interval: int | None) -> None:
        self._log = log
        self._index = index
        self._matches = matches
        self._interval = interval
        self._considered = 0

    def next(self) -> Step | None:
        records = self._log.records
        while not self._interval or self._considered < self._interval:
            if self._index == len(records):
                return None
            record = records[self._index]
            self._index += 1
            if record.revision != NO_STREAM:
                self._considered += 1
                if self._matches(record):
                    return record
        return self.checkpoint()

    def checkpoint(self) -> Checkpoint | None:
        if not self._interval or not self._index:
            return None
        self._considered = 0
        return Checkpoint(self._log.records[self._index - 1].position)


class StreamCursor:
    """Through one stream, which need not exist yet."""

    def __init__(self, log: EventLog, stream: str, revision: int) -> None:
        self._log = log
        self._stream = stream
        self._revision = revision

    def next(self) -> Step | None:
        if self._log.existence(self._stream) is Existence.TOMBSTONED:
            raise refusals.stream_deleted(self._stream)
        events = self._log.stream(self._stream)
        window = self._log.window(self._stream, time_ns() // 100)
        while self._revision < len(events):
            record = events[self._revision]
            self._revision += 1
            if window.shows(record):
                return record
        return None

    def checkpoint(self) -> Checkpoint | None:
        return None


class Subscription:
    """One subscriber, from the confirmation on.

    It catches up with the log, says so, and is live: what comes then waits in a buffer. With too much in the buffer it
    falls behind: a server of generation "23" ends it, one of "24" lets it catch up again.
    """

    def __init__(self, node: Node, options: Any) -> None:
        """Stand where the request says.

        Raises:
            Refusal: no record begins there.
        """
        self._node = node
        self._as_text = options.uuid_option.WhichOneof("content") == "string"
        self._stream = "$all" if options.WhichOneof("stream_option") == "all" else read_stream(options.stream)
        self._cursor = _cursor(node, self._stream, options)
        self._waiting: deque[Step] = deque()
        self._sent = 0
        self._reached: Checkpoint | None = None  # once live, where there are checkpoints

    async def run(self, send: Send) -> None:
        """Send it what it is to be told; ends only where a fault says so.

        Raises:
            Refusal: it was too slow, its stream was tombstoned, or a fault ends it.
        """
        confirmation = streams_pb2.ReadResp.SubscriptionConfirmation(subscription_id=str(uuid4()))
        await send(streams_pb2.ReadResp(confirmation=confirmation))
        with suppress(_Ended):
            while True:
                await self._catch_up(send)
                await self._live(send)
                if self._node.generation == "23":
                    raise refusals.too_slow()
                if self._reached is not None:
                    await send(_checkpoint(self._reached))
                await send(streams_pb2.ReadResp(fell_behind=streams_pb2.ReadResp.FellBehind()))

    async def _catch_up(self, send: Send) -> None:
        """Until there is nothing more."""
        while (step := self._next()) is not None:
            await self._suffer()
            await self._tell(step, send)
        self._reached = self._cursor.checkpoint() if self._node.generation == "24" else None
        if self._reached is not None:
            await send(_checkpoint(self._reached))
        await send(streams_pb2.ReadResp(caught_up=streams_pb2.ReadResp.CaughtUp()))

    async def _live(self, send: Send) -> None:
        """Until too much waits."""
        while True:
            news = self._node.store.news.next
            await self._suffer()
            while (step := self._cursor.next()) is not None:
                self._waiting.append(step)
            if len(self._waiting) > LIVE_BUFFER:
                return
            if self._waiting:
                await self._tell(self._waiting.popleft(), send)
            else:
                await news.wait()

    def _next(self) -> Step | None:
        return self._waiting.popleft() if self._waiting else self._cursor.next()

    async def _tell(self, step: Step, send: Send) -> None:
        if self._reached is not None:
            self._reached = Checkpoint(step.position)
        if isinstance(step, Checkpoint):
            await send(_checkpoint(step))
            return
        message = event(step, as_text=self._as_text)
        if self._node.faults.take(Kind.DUPLICATE_EVENT, "Read", self._stream, sent=self._sent):
            await send(message)
        self._sent += 1
        await send(message)

    async def _suffer(self) -> None:
        """Let a fault have its way."""
        faults = self._node.faults
        if not faults.pending:
            return
        if faults.take(Kind.STALL_SUBSCRIPTION, "Read", self._stream, sent=self._sent):
            await hang()
        if fault := faults.take(Kind.ABORT_SUBSCRIPTION, "Read", self._stream, sent=self._sent):
            raise refusals.Refusal(grpc.StatusCode[fault.code], fault.text)
        if faults.take(Kind.END_SUBSCRIPTION_OK, "Read", self._stream, sent=self._sent):
            raise _Ended


class _Ended(Exception):
    """The call ends with OK."""


def _checkpoint(checkpoint: Checkpoint) -> streams_pb2.ReadResp:
    position = checkpoint.position
    return streams_pb2.ReadResp(
        checkpoint=streams_pb2.ReadResp.Checkpoint(commit_position=position, prepare_position=position)
    )


def _cursor(node: Node, stream: str, options: Any) -> Cursor:
    log = node.store.log
    if options.WhichOneof("stream_option") == "stream":
        match options.stream.WhichOneof("revision_option"):
            case "revision":
                return StreamCursor(log, stream, options.stream.revision + 1)
            case "end":
                return StreamCursor(log, stream, len(log.stream(stream)))
        return StreamCursor(log, stream, 0)
    index = start_index(log, node.generation, options)
    position = options.all.position.commit_position  # 0 also where none is named
    if position and index < len(log.records) and log.records[index].position == position:
        index += 1  # that one is known already; 0 is no position but the beginning
    return AllCursor(log, index, read_filter(options), checkpoint_interval(options))
