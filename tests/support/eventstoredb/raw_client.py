"""The calls as they are on the wire, without a client library that retries or hides what was answered."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID, uuid4

from tests.support.eventstoredb.protos import grpc, shared_pb2, streams_pb2, streams_stub
from tests.support.eventstoredb.records import ANY, EXISTS, NO_STREAM

LEADER: Final = (("requires-leader", "true"),)
MARKS: Final = {NO_STREAM: "no_stream", ANY: "any", EXISTS: "stream_exists"}
TIMEOUT: Final = 10.0


class RawClient:
    """One connection.

    Attributes:
        channel: of gRPC.
        streams: the generated stub.
    """

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.streams = streams_stub(channel)

    async def append(
        self, stream: str, expected: int, *events: streams_pb2.BatchAppendReq.ProposedMessage, **deadline: Any
    ) -> streams_pb2.BatchAppendResp:
        """Append with BatchAppend, as one batch."""
        request = batch(stream, expected, *events, **deadline)
        (answer,) = await self.batches(request)
        return answer

    async def batches(
        self, *requests: streams_pb2.BatchAppendReq, metadata: Sequence[tuple[str, str]] = LEADER
    ) -> list[streams_pb2.BatchAppendResp]:
        """Send these parts in one call; returns what was answered."""
        call = self.streams.BatchAppend(iter(requests), metadata=metadata, timeout=TIMEOUT)
        return [answer async for answer in call]

    async def append_single(self, stream: str, expected: int, *events: Any) -> streams_pb2.AppendResp:
        """Append with Append."""
        options = streams_pb2.AppendReq.Options()
        _name(options, stream, expected)
        requests = [streams_pb2.AppendReq(options=options)]
        for event in events:
            same = streams_pb2.AppendReq.ProposedMessage.FromString(event.SerializeToString())
            requests.append(streams_pb2.AppendReq(proposed_message=same))
        answer: streams_pb2.AppendResp = await self.streams.Append(iter(requests), metadata=LEADER, timeout=TIMEOUT)
        return answer

    async def delete(self, stream: str, expected: int) -> streams_pb2.DeleteResp:
        """Delete for now."""
        options = streams_pb2.DeleteReq.Options()
        _name(options, stream, expected)
        request = streams_pb2.DeleteReq(options=options)
        answer: streams_pb2.DeleteResp = await self.streams.Delete(request, metadata=LEADER, timeout=TIMEOUT)
        return answer

    async def tombstone(self, stream: str, expected: int) -> streams_pb2.TombstoneResp:
        """Delete for good."""
        options = streams_pb2.TombstoneReq.Options()
        _name(options, stream, expected)
        request = streams_pb2.TombstoneReq(options=options)
        answer: streams_pb2.TombstoneResp = await self.streams.Tombstone(request, metadata=LEADER, timeout=TIMEOUT)
        return answer

    async def read(self, **options: Any) -> list[streams_pb2.ReadResp]:
        """All that is answered to a read; see :func:`read_request`."""
        call = self.streams.Read(read_request(**options), metadata=LEADER, timeout=TIMEOUT)
        return [answer async for answer in call]

    def subscribe(self, **options: Any) -> Any:
        """The call of a subscription, to be iterated and cancelled."""
        return self.streams.Read(read_request(subscription=True, **options), metadata=LEADER)


@asynccontextmanager
async def raw_client(port: int) -> AsyncIterator[RawClient]:
    """Connect to a server without TLS; no other client shares the connection."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield RawClient(channel)


def proposed(
    type: str = "Counted",
    *,
    id: UUID | None = None,
    data: bytes = b"{}",
    metadata: bytes = b"",
    content_type: str = "application/json",
) -> streams_pb2.BatchAppendReq.ProposedMessage:
    """An event to be appended."""
    return streams_pb2.BatchAppendReq.ProposedMessage(
        id=shared_pb2.UUID(string=str(uuid4() if id is None else id)),
        metadata={"type": type, "content-type": content_type},
        custom_metadata=metadata,
        data=data,
    )


def batch(
    stream: str, expected: int, *events: Any, correlation_id: UUID | None = None, final: bool = True, **deadline: Any
) -> streams_pb2.BatchAppendReq:
    """The first part of a batch, or all of it."""
    options = streams_pb2.BatchAppendReq.Options(**deadline)
    _name(options, stream, expected)
    correlation = shared_pb2.UUID(string=str(correlation_id or uuid4()))
    return streams_pb2.BatchAppendReq(
        correlation_id=correlation, options=options, proposed_messages=events, is_final=final
    )


def read_request(
    stream: str | None = None,
    *,
    at: int | str = "start",
    count: int = 1_000_000,
    backwards: bool = False,
    subscription: bool = False,
    wanted: dict[str, Any] | None = None,
    as_text: bool = True,
) -> streams_pb2.ReadReq:
    """A request for Read.

    Args:
        stream: its name; the whole log without one.
        at: a revision or a position, or "start" or "end".
        count: of events, where it is no subscription.
        backwards: the direction.
        subscription: whether what comes later is wanted, too.
        wanted: the fields of FilterOptions, for a filter.
        as_text: the form of the ids.
    """
    options = streams_pb2.ReadReq.Options(read_direction=1 if backwards else 0)  # type: ignore[arg-type]  # an enum
    place = options.all if stream is None else options.stream
    if isinstance(at, str):
        getattr(place, at).SetInParent()
    elif stream is None:
        options.all.position.commit_position = options.all.position.prepare_position = at
    else:
        options.stream.revision = at
    if stream is not None:
        options.stream.stream_identifier.stream_name = stream.encode()
    if subscription:
        options.subscription.SetInParent()
    else:
        options.count = count
    if wanted is None:
        options.no_filter.SetInParent()
    else:
        options.filter.CopyFrom(streams_pb2.ReadReq.Options.FilterOptions(**wanted))
    (options.uuid_option.string if as_text else options.uuid_option.structured).SetInParent()
    return streams_pb2.ReadReq(options=options)


def _name(options: Any, stream: str, expected: int) -> None:
    options.stream_identifier.stream_name = stream.encode()
    if expected in MARKS:
        getattr(options, MARKS[expected]).SetInParent()
    elif "stream_position" in options.DESCRIPTOR.fields_by_name:
        options.stream_position = expected
    else:
        options.revision = expected
