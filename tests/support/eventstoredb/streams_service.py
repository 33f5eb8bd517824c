"""The calls on streams: from the wire to the log and back.

They read and write on the context: a generator that gRPC abandons would be closed only some time later.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.support.eventstoredb import refusals
from tests.support.eventstoredb.batch_append import Caller, answer_batch
from tests.support.eventstoredb.commits import Call, WriteTimeout, before, commit
from tests.support.eventstoredb.node import Node, Role
from tests.support.eventstoredb.protos import grpc, streams_pb2, streams_pb2_grpc
from tests.support.eventstoredb.reads import check_combination, read
from tests.support.eventstoredb.records import Answer, Committed
from tests.support.eventstoredb.refusals import Refusal
from tests.support.eventstoredb.single_append import append_response, read_append
from tests.support.eventstoredb.subscriptions import Subscription
from tests.support.eventstoredb.wire import read_expected, read_stream

_log: Final = logging.getLogger(__name__)


class StreamsService(streams_pb2_grpc.StreamsServicer):
    """Every call that a client makes on streams."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def BatchAppend(self, _requests: Any, context: Any) -> None:  # noqa: N802 - the stub calls it so
        """Append batches; each is answered when its last part is there."""
        async with answering(context):
            headers = dict(context.invocation_metadata())
            caller = Caller(headers, context.peer(), may_write=self._may_write(headers))
            try:
                async with asyncio.TaskGroup() as group:
                    await self._take_batches(context, caller, group)
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def Append(self, _requests: Any, context: Any) -> streams_pb2.AppendResp:  # noqa: N802 - see above
        """Append once; first come the options, then the events."""
        async with answering(context):
            options, events = await read_append(context.read, self._node.max_append_size)
            stream, expected = read_stream(options), read_expected(options)
            self._check("Append", stream, context)
            answer = await self._commit(
                Call("Append", stream, context.peer(), self._node.write_timeout),
                lambda: self._node.store.append(stream, expected, events),
            )
            return append_response(answer, stream, expected)

    async def Delete(self, request: Any, context: Any) -> streams_pb2.DeleteResp:  # noqa: N802 - see above
        """Delete a stream for now."""
        async with answering(context):
            position = await self._delete("Delete", request.options, context, self._node.store.delete)
            return streams_pb2.DeleteResp(
                position=streams_pb2.DeleteResp.Position(commit_position=position, prepare_position=position)
            )

    async def Tombstone(self, request: Any, context: Any) -> streams_pb2.TombstoneResp:  # noqa: N802 - see above
        """Delete a stream for good."""
        async with answering(context):
            position = await self._delete("Tombstone", request.options, context, self._node.store.tombstone)
            return streams_pb2.TombstoneResp(
                position=streams_pb2.TombstoneResp.Position(commit_position=position, prepare_position=position)
            )

    async def Read(self, request: Any, context: Any) -> None:  # noqa: N802 - see above
        """Read, or subscribe."""
        options = request.options
        async with answering(context):
            check_combination(options)
            stream = "$all" if options.WhichOneof("stream_option") == "all" else read_stream(options.stream)
            self._check("Read", stream, context)
            await before(self._node, Call("Read", stream, context.peer(), math.inf))
            if options.WhichOneof("count_option") == "subscription":
                await Subscription(self._node, options).run(context.write)
            else:
                await read(self._node, options, context.write)

    async def _take_batches(self, context: Any, caller: Caller, group: asyncio.TaskGroup) -> None:
        batches: dict[bytes, tuple[Any, list[Any]]] = {}
        writing = asyncio.Lock()

        async def answer(options: Any, messages: list[Any], id: Any) -> None:
            response = await answer_batch(self._node, options, messages, caller)
            response.correlation_id.CopyFrom(id)
            async with writing:
                await context.write(response)

        while (request := await context.read()) is not grpc.aio.EOF:
            key = request.correlation_id.SerializeToString()
            if request.HasField("options"):
                batches[key] = (request.options, [])
            if key not in batches:
                continue
            options, messages = batches[key]
            messages.extend(request.proposed_messages)
            if request.is_final:
                del batches[key]
                # one that takes its time keeps no other waiting
                group.create_task(answer(options, messages, request.correlation_id))

    def _may_write(self, headers: dict[str, str | bytes]) -> bool:
        try:
            self._node.authorize(headers)
        except Refusal as refusal:
            if refusal.code is grpc.StatusCode.PERMISSION_DENIED:
                return False  # said inside the answer
            raise
        return True

    def _check(self, method: str, stream: str, context: Any) -> None:
        headers = dict(context.invocation_metadata())
        self._node.authorize(headers)
        self._node.check_leadership(method, stream, headers)
        if self._node.role is Role.STARTING:
            raise refusals.unavailable(refusals.NOT_READY)
        if method != "Read" and (self._node.read_only or stream == "$all"):
            raise refusals.access_denied()

    async def _delete(self, method: str, options: Any, context: Any, write: Callable[[str, int], Answer]) -> int:
        stream, expected = read_stream(options), read_expected(options)
        self._check(method, stream, context)
        answer = await self._commit(
            Call(method, stream, context.peer(), self._node.write_timeout), lambda: write(stream, expected)
        )
        if isinstance(answer, Committed):
            return answer.position
        raise refusals.delete_refused(stream, expected, answer)

    async def _commit(self, call: Call, write: Callable[[], Answer]) -> Answer:
        try:
            return await commit(self._node, call, write)
        except WriteTimeout:
            raise refusals.timed_out() from None


@asynccontextmanager
async def answering(context: Any) -> AsyncIterator[None]:
    """End the call as the real server does when it cannot be served."""
    try:
        yield
    except Refusal as refusal:
        await context.abort(refusal.code, refusal.details, refusal.trailers)
    except grpc.aio.AbortError:
        raise
    except Exception:  # noqa: BLE001 - the client is told, whatever it was
        _log.exception("a call failed")
        await context.abort(grpc.StatusCode.UNKNOWN, "Exception was thrown by handler.")
