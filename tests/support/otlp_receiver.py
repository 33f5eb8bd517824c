"""A collector that takes spans over HTTP on loopback, and one that takes connections and never answers."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PATIENCE: Final = 20.0


@dataclass(frozen=True, slots=True)
class Received:
    """A span as it came.

    Attributes:
        resource: whose it is.
    """

    span: Span
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]


class Receiver:
    """Keeps what it was sent.

    Attributes:
        endpoint: where it listens.
        headers: of each request.
        paths: that were asked for.
        status: that is answered; below 300 the spans are taken.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.status = 200
        self._spans: list[Received] = []
        self._changed = threading.Condition()

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> int:
        """A request came; what is to be answered."""
        with self._changed:
            self.paths.append(path)
            self.headers.append({name.lower(): value for name, value in headers.items()})
            if self.status < 300:
                self._spans += _decoded(body)
            self._changed.notify_all()
            return self.status

    def spans(self, number: int) -> list[Received]:
        """All of them, as soon as there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._spans) >= number, PATIENCE), len(self._spans)
            return sorted(self._spans, key=lambda one: one.span.end_time_unix_nano)

    def span_of(self, command_id: str) -> Received:
        """That of this command, as soon as it is there."""

        def found() -> list[Received]:
            return [one for one in self._spans if one.attributes["messaging.message.id"] == command_id]

        with self._changed:
            assert self._changed.wait_for(found, PATIENCE), command_id
            return found()[0]

    def refusals(self, number: int) -> None:
        """Wait for so many requests, taken or not."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.paths) >= number, PATIENCE), len(self.paths)


@contextmanager
def place() -> Iterator[socket.socket]:
    """Where nobody listens, and nobody else can, until a collector does."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield kept


def endpoint(kept: socket.socket) -> str:
    """How a place is told to whoever sends spans."""
    return f"http://127.0.0.1:{kept.getsockname()[1]}"


@contextmanager
def receiver(kept: socket.socket | None = None) -> Iterator[Receiver]:
    """A collector, as long as the context lasts; at this place, or at some other."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(one.take(self.path, dict(self.headers), body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=kept is None)
    if kept is not None:
        server.socket.close()
        server.socket = kept
        server.server_activate()
    one = Receiver(endpoint(server.socket))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield one
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Hanging:
    """Takes connections, and nothing that is said on them.

    Attributes:
        endpoint: where it listens.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.endpoint = endpoint(listener)

    def wait_for_a_client(self) -> socket.socket:
        """Whoever comes first; it never hears anything."""
        self._listener.settimeout(PATIENCE)
        return self._listener.accept()[0]


@contextmanager
def hanging() -> Iterator[Hanging]:
    """A collector that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Hanging(listener)


def _decoded(body: bytes) -> list[Received]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        Received(span, _plain(span.attributes), _plain(resource.resource.attributes))
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
