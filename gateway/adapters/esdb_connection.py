"""One connection to EventStoreDB, with a guard for each trap of its client libraries.

- A read that is cancelled ends as if it were complete (esdbclient): :meth:`EsdbConnection.call` raises all the same.
- So does every read under way when the client connects anew for another call: :meth:`EsdbConnection.read` notices.
- A call tries again by itself, with its whole time-out anew: an outer deadline bounds all of it.
- Connections with equal options share one TCP connection: each of ours has its own.
- The URL's KeepAliveInterval does nothing (esdbclient): the options that gRPC knows are set here.
- User and password in a URL are not decoded: they are given beside it.
- More than 64 calls at once make a server refuse some, and the client reconnect.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

import structlog

from gateway.adapters import esdb_client
from gateway.adapters.esdb_appends import AppendCall
from gateway.adapters.esdb_options import EsdbOptions
from gateway.errors import SettingsError, StoreUnavailable

log = structlog.get_logger()

T = TypeVar("T")

_MARGIN: Final = 0.5
"""Seconds beyond the deadline of a call, in which the client may say itself what is wrong."""

_CLOSING: Final = 6.0
_PASSED_ON: Final = (esdb_client.WrongCurrentVersion, esdb_client.NotFound, esdb_client.StreamIsDeleted)
_OUR_FAULT: Final = (esdb_client.MaximumAppendSizeExceeded, esdb_client.BadRequest)
_THEIR_FAULT: Final = (
    esdb_client.ClientError,
    esdb_client.ProgrammingError,
    esdb_client.RpcError,
    esdb_client.UsageError,
    OSError,
)


class EsdbConnection:
    """Makes calls over one TCP connection after the other. It needs no store to be made."""

    def __init__(self, options: EsdbOptions) -> None:
        """Check the options without reaching for the store.

        Raises:
            SettingsError: the client library does not take the URL, or the CA file cannot be read.
        """
        self._options = options
        self._slots = asyncio.Semaphore(options.in_flight)
        self._opening = asyncio.Lock()
        self._client: Any = None
        self._appends: AppendCall | None = None
        self._closing: set[asyncio.Task[None]] = set()
        try:
            self._make_client()
        except (ValueError, OSError) as error:
            raise SettingsError(f"event_store: {error}") from None

    @property
    def deadline(self) -> float:
        """Seconds that a call may take."""
        return self._options.deadline

    async def call(self, operation: Callable[[Any], Awaitable[T]]) -> T:
        """Do something with the client.

        Raises:
            WrongCurrentVersion, NotFound, StreamIsDeleted: as the client does.
            StoreUnavailable: it is away, does not answer in time, or refuses; whether a write happened is unknown.
            ValueError: the request itself can never succeed.
        """
        async with self._slots:
            client = await self._open()
            try:
                async with asyncio.timeout(self.deadline + _MARGIN):
                    return await uncut(operation(client))
            except TimeoutError:
                self._discard(client)
                raise StoreUnavailable(f"no answer from the store within {self.deadline:g} s") from None
            except _PASSED_ON:
                raise
            except _OUR_FAULT as error:
                raise ValueError(f"the store refuses the request: {error!r}") from error
            except (*_THEIR_FAULT, AttributeError) as error:
                raise self._unavailable(client, error) from error

    async def append(self, name: str, revision: Any, events: Sequence[Any]) -> int:  # noqa: ANN401 - the client has no common type
        """Append to a stream as the client does; position of the last event.

        Raises:
            WrongCurrentVersion, StreamIsDeleted, StoreUnavailable, ValueError: as :meth:`call` does.
        """

        async def together(client: Any) -> int | None:  # noqa: ANN401 - as above
            call = self._appends
            if call is None or call.has_ended or call.connection is not client._connection:  # noqa: SLF001 - as above
                call = self._appends = AppendCall(client)
            return await call.append(name, revision, events, self.deadline)

        async def alone(client: Any) -> int:  # noqa: ANN401 - as above
            position: int = await client.append_to_stream(
                name, current_version=revision, events=events, timeout=self.deadline
            )
            return position

        position = await self.call(together)
        return position if position is not None else await self.call(alone)

    async def read(self, operation: Callable[[Any], Awaitable[T]]) -> T:
        """Read something with the client, and be sure that it was not cut short.

        Raises:
            NotFound, StreamIsDeleted: as the client does.
            StoreUnavailable: the store is away, or the connection was made anew meanwhile.
        """

        async def whole(client: Any) -> T:  # noqa: ANN401 - the client has no common type
            before = getattr(client, "_connection", None)
            result = await operation(client)
            if getattr(client, "_connection", None) is not before:
                raise StoreUnavailable("the connection was made anew during a read")
            return result

        return await self.call(whole)

    async def open_subscription(
        self, subscribe: Callable[[Any], Awaitable[T]]
    ) -> tuple[T, Callable[[Exception], Exception]]:
        """Begin a subscription, and how its later errors are to be understood.

        Raises:
            StoreUnavailable: it could not be begun.
        """
        client = await self._open()

        def understand(error: Exception) -> Exception:
            return self._unavailable(client, error) if isinstance(error, _THEIR_FAULT) else error

        return await self.call(subscribe), understand

    async def close(self) -> None:
        """Close what is open; bounded."""
        if self._client is not None:
            self._discard(self._client)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _open(self) -> Any:  # noqa: ANN401 - the client has no common type
        async with self._opening:
            if self._client is None:
                client = self._make_client()
                try:
                    # with several nodes it asks them who leads, many times over
                    async with asyncio.timeout(self.deadline + _MARGIN):
                        await client.connect()
                except TimeoutError:
                    raise StoreUnavailable("no node of the store answers") from None
                except _THEIR_FAULT as error:
                    raise StoreUnavailable(_plainly(error)) from error
                self._client = client
            return self._client

    def _make_client(self) -> Any:  # noqa: ANN401 - the client has no common type
        options = self._options
        url = urlsplit(options.url)
        # never sent: a URL for TLS has to have some, and the client takes them as they stand, encoded
        with_user = urlunsplit(url._replace(netloc=f"user:password@{url.netloc}")) if options.username else options.url
        certificates = options.ca_file.read_bytes() if options.ca_file else None
        client = esdb_client.Client(uri=with_user, root_certificates=certificates)
        if options.username:
            client._call_credentials = client.construct_call_credentials(options.username, options.password)  # noqa: SLF001
        milliseconds = int(options.keepalive * 1_000)
        client.grpc_options += (
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.keepalive_time_ms", milliseconds),
            ("grpc.keepalive_timeout_ms", milliseconds),
            ("grpc.http2.ping_timeout_ms", milliseconds),
            ("grpc.keepalive_permit_without_calls", 1),
        )
        return client

    def _unavailable(self, client: object, error: Exception) -> StoreUnavailable:
        # a client that is closed, or connected to a node that does not lead any more, stays so
        if not isinstance(error, (esdb_client.ClientError, esdb_client.RpcError)) or isinstance(
            error, esdb_client.NodeIsNotLeader
        ):
            self._discard(client)
        return StoreUnavailable(_plainly(error))

    def _discard(self, client: Any) -> None:  # noqa: ANN401 - the client has no common type
        """Use another one from now on."""
        if client is self._client:
            self._client = None
            closing = asyncio.create_task(_close(client), name="closing a connection to the store")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


async def uncut(operation: Awaitable[T]) -> T:
    """Wait for an operation that hides its cancellation, behind a result cut short or an error of its own."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        return await operation
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


async def _close(client: Any) -> None:  # noqa: ANN401 - the client has no common type
    with suppress(TimeoutError, AttributeError, *_THEIR_FAULT):
        async with asyncio.timeout(_CLOSING):
            await client.close()


def _plainly(error: Exception) -> str:
    if isinstance(error, esdb_client.AccessDenied):
        return "the store refuses our user, or what he wants to do"
    details = getattr(error.args[0], "details", None) if error.args else None
    text = details() if callable(details) else str(error)
    return f"{type(error).__name__}: {text}"[:300]
