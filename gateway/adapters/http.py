"""A few pages over HTTP, for monitoring on the same machine: GET only, one request a connection, all of it bounded."""

import asyncio
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger()

UNIX: Final = "unix:"
MAX_HEADER: Final = 8_192
MAX_CONNECTIONS: Final = 16
PATIENCE: Final = 5.0
"""Seconds that a client may take to ask, and again to take the answer."""

RETRY: Final = 10.0
"""Seconds between attempts to listen where somebody else does."""


@dataclass(frozen=True, slots=True)
class Page:
    """What is answered."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


Pages = Mapping[str, Callable[[], Page]]
"""What answers each path; called on the event loop."""


class HttpEndpoint:
    """Serves pages at an address.

    Attributes:
        listen: ``host:port``, or ``unix:`` and the path of a socket.
        retry: seconds between attempts to listen.
    """

    def __init__(self, listen: str, pages: Pages, *, retry: float = RETRY, patience: float = PATIENCE) -> None:
        self.listen = listen
        self.retry = retry
        self._pages = pages
        self._patience = patience
        self._clients: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def run(self) -> None:
        """Serve until cancelled. A taken address stops nothing else; it is tried again."""
        told = False
        while True:
            try:
                server = await self._start()
            except OSError as error:
                if not told:
                    log.warning("metrics_not_served", listen=self.listen, error=str(error))
                told = True
                await asyncio.sleep(self.retry)
                continue
            log.info("metrics_served", listen=self.listen)
            try:
                await server.serve_forever()
            finally:
                server.close()
                for client in self._clients.values():
                    client.transport.abort()
                await asyncio.gather(*filter(None, self._clients))

    async def _start(self) -> asyncio.Server:
        if self.listen.startswith(UNIX):
            own = _bind(Path(self.listen.removeprefix(UNIX)))
            return await asyncio.start_unix_server(self._serve, sock=own, limit=MAX_HEADER)
        host, _, port = self.listen.rpartition(":")
        return await asyncio.start_server(self._serve, host.strip("[]"), int(port), limit=MAX_HEADER)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._clients[task] = writer
        try:
            if len(self._clients) > MAX_CONNECTIONS:
                return
            async with asyncio.timeout(self._patience):
                page = self._answer(await reader.readuntil(b"\r\n\r\n"))
            # all of it, before the connection is closed
            writer.transport.set_write_buffer_limits(0)
            async with asyncio.timeout(self._patience):
                writer.write(_response(page))
                await writer.drain()
        except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError):
            # whoever it is does not speak HTTP, does not listen, or is gone
            writer.transport.abort()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            del self._clients[task]

    def _answer(self, request: bytes) -> Page:
        method, _, rest = request.partition(b" ")
        target, _, version = rest.partition(b"\r\n")[0].partition(b" ")
        if not version.startswith(b"HTTP/1."):
            return _plain(HTTPStatus.BAD_REQUEST)
        if method != b"GET":
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED)
        page = self._pages.get(target.partition(b"?")[0].decode(errors="replace"))
        if page is None:
            return _plain(HTTPStatus.NOT_FOUND)
        try:
            return page()
        except Exception:
            log.exception("metrics_fault")
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR)


def _plain(status: HTTPStatus) -> Page:
    return Page(f"{status.phrase}\n".encode(), status=status)


def _response(page: Page) -> bytes:
    head = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(page.body)}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + page.body


def _bind(path: Path) -> socket.socket:
    """A unix socket for owner and group, in place of one that an earlier run left; nothing else is removed.

    Raises:
        OSError: it cannot be made.
    """
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()
    own = socket.socket(socket.AF_UNIX)
    try:
        own.bind(str(path))
        # nobody can connect before it listens
        path.chmod(0o660)
    except OSError:
        own.close()
        raise
    return own
