"""Many appends over one call of BatchAppend, each answered when it is done.

The client library opens a call for each append, which costs both sides as much as all the rest of it. The protocol has
the call for many, and this uses it with what the library has for one; how it fails is left to the library: where the
call ends, whoever waits for an answer is told so, and appends the same once more in the library's own way.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from gateway.adapters import esdb_client


class AppendCall:
    """One call, as long as it lasts.

    Attributes:
        has_ended: whether it takes no more appends.
    """

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - the client has no common type
        """Begin it over the connection that the client has; it ends with that."""
        self.has_ended = False
        self.connection = client._connection  # noqa: SLF001 - neither library tells it
        self._streams = streams = self.connection.streams
        self._requests: asyncio.Queue[Any] = asyncio.Queue()
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._call = streams._stub.BatchAppend(  # noqa: SLF001 - as above
            self._requested(),
            metadata=streams._metadata(client._call_metadata, requires_leader=True),  # noqa: SLF001 - as above
            credentials=client._call_credentials,  # noqa: SLF001 - as above
        )
        # or closing the connection would wait for this call to end
        self.connection._grpc_streamers.add(self)  # noqa: SLF001 - as above
        self._reading = asyncio.create_task(self._read(), name="answers to appends")

    async def append(self, name: str, revision: Any, events: Sequence[Any], timeout: float) -> int | None:  # noqa: ANN401, ASYNC109 - as the client has them
        """Position of the last event; ``None`` if the call ended before the answer: whether it was written is unknown.

        Raises:
            WrongCurrentVersion, StreamIsDeleted, ClientError: as the client does.
        """
        if self.has_ended:
            return None
        id = uuid4()
        request = self._streams._construct_batch_append_req(  # noqa: SLF001 - as above
            stream_name=name, current_version=revision, events=events, correlation_id=id, timeout=timeout
        )
        answer = self._waiting[str(id)] = asyncio.get_running_loop().create_future()
        self._requests.put_nowait(request)
        try:
            response = await answer
        finally:
            self._waiting.pop(str(id), None)
        if response is None:
            return None
        position: int = self._streams._convert_batch_append_resp(response, name, revision)  # noqa: SLF001 - as above
        return position

    async def stop(self, **_how: object) -> None:
        """End it at once; the connection does so before it is closed, and each library has wishes of its own."""
        self._call.cancel()
        await asyncio.wait([self._reading])

    async def _requested(self) -> AsyncIterator[Any]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _read(self) -> None:
        try:
            with suppress(esdb_client.RpcError):
                async for response in self._call:
                    answer = self._waiting.get(response.correlation_id.string)
                    if answer is not None and not answer.done():
                        answer.set_result(response)
        finally:
            self.has_ended = True
            self._requests.put_nowait(None)
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_result(None)
