import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import pytest

from gateway.adapters.http import MAX_CONNECTIONS, MAX_HEADER, HttpEndpoint, Page


def broken() -> Page:
    raise RuntimeError("a fault")


PAGES: Mapping[str, object] = {
    "/metrics": lambda: Page(b"up 1\n", "text/plain; version=0.0.4"),
    "/readyz": lambda: Page(b"no\n", status=HTTPStatus.SERVICE_UNAVAILABLE),
    "/broken": broken,
    "/large": lambda: Page(b"x" * 1_000_000),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.sock"


@asynccontextmanager
async def serving(listen: str, **options: float) -> AsyncIterator[None]:
    task = asyncio.create_task(HttpEndpoint(listen, PAGES, **options).run())  # type: ignore[arg-type]
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def endpoint(path: Path) -> AsyncIterator[Path]:
    async with serving(f"unix:{path}"):
        await listening(path)
        yield path


async def listening(path: Path) -> None:
    while True:
        try:
            await ask(path, b"GET / HTTP/1.1\r\n\r\n")
        except OSError:
            await asyncio.sleep(0)
        else:
            return


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def ask(path: Path, request: bytes) -> tuple[str, bytes]:
    """Status line and body; empty where the connection is closed without a word."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(request)
        answer = await reader.read()
    except ConnectionError:
        answer = b""
    finally:
        await hang_up(writer)
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode(), body


async def test_a_page_is_answered_with_its_type_and_length(endpoint: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(endpoint)
    writer.write(b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = (await reader.read()).decode()
    await hang_up(writer)
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert "Content-Type: text/plain; version=0.0.4\r\nContent-Length: 5\r\n" in answer
    assert answer.endswith("\r\n\r\nup 1\n")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /readyz HTTP/1.1", "HTTP/1.1 503 Service Unavailable"),
        (b"GET /elsewhere HTTP/1.1", "HTTP/1.1 404 Not Found"),
        (b"GET /\xff HTTP/1.0", "HTTP/1.1 404 Not Found"),
        (b"POST /metrics HTTP/1.1", "HTTP/1.1 405 Method Not Allowed"),
        (b"GET /metrics", "HTTP/1.1 400 Bad Request"),
        (b"\x16\x03\x01", "HTTP/1.1 400 Bad Request"),
        (b"GET /broken HTTP/1.1", "HTTP/1.1 500 Internal Server Error"),
    ],
)
async def test_whatever_is_asked_has_an_answer(endpoint: Path, request_line: bytes, status: str) -> None:
    assert (await ask(endpoint, request_line + b"\r\n\r\n"))[0] == status


async def test_a_head_that_never_ends_is_not_read_to_its_end(endpoint: Path) -> None:
    assert await ask(endpoint, b"GET /metrics HTTP/1.1\r\n" + b"x" * 4 * MAX_HEADER) == ("", b"")


async def test_who_says_nothing_is_hung_up_on(path: Path) -> None:
    async with serving(f"unix:{path}", patience=0.01):
        await listening(path)
        assert await ask(path, b"GET /metr") == ("", b"")


async def test_no_more_than_so_many_are_served_at_once(endpoint: Path) -> None:
    idle = [await asyncio.open_unix_connection(endpoint) for _ in range(MAX_CONNECTIONS)]
    assert (await ask(endpoint, b"GET /metrics HTTP/1.1\r\n\r\n"))[0] == ""
    for _, writer in idle:
        await hang_up(writer)
    while (await ask(endpoint, b"GET /metrics HTTP/1.1\r\n\r\n"))[0] != "HTTP/1.1 200 OK":
        await asyncio.sleep(0)


async def test_who_does_not_take_the_answer_keeps_nobody_else_from_asking(path: Path) -> None:
    async with asyncio.timeout(20), serving(f"unix:{path}", patience=0.05):
        await listening(path)
        deaf = [await asyncio.open_unix_connection(path) for _ in range(MAX_CONNECTIONS)]
        for reader, writer in deaf:
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(b"GET /large HTTP/1.1\r\n\r\n")
        while (await ask(path, b"GET /metrics HTTP/1.1\r\n\r\n"))[0] != "HTTP/1.1 200 OK":
            await asyncio.sleep(0)
        for _, writer in deaf:
            await hang_up(writer)


async def test_a_large_page_arrives_whole(endpoint: Path) -> None:
    assert await ask(endpoint, b"GET /large HTTP/1.1\r\n\r\n") == ("HTTP/1.1 200 OK", b"x" * 1_000_000)


async def test_a_taken_port_is_tried_again_until_it_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        endpoint = asyncio.create_task(HttpEndpoint(f"127.0.0.1:{port}", PAGES, retry=0.001).run())  # type: ignore[arg-type]
        for _ in range(20):
            await asyncio.sleep(0)
        assert not endpoint.done()
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0)
        else:
            await hang_up(writer)
            break
    endpoint.cancel()
    await asyncio.wait([endpoint])


async def test_a_socket_that_an_earlier_run_left_is_taken_over_and_other_files_are_not(tmp_path: Path) -> None:
    left = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as earlier:
        earlier.bind(str(left))
    async with serving(f"unix:{left}"):
        await listening(left)
    precious = tmp_path / "precious"
    precious.write_text("kept")
    async with serving(f"unix:{precious}", retry=0.001):
        for _ in range(20):
            await asyncio.sleep(0)
        assert precious.read_text() == "kept"


async def test_only_owner_and_group_may_ask_at_a_unix_socket(endpoint: Path) -> None:
    assert endpoint.stat().st_mode & 0o777 == 0o660


async def test_an_open_connection_does_not_hold_up_the_end(path: Path) -> None:
    async with asyncio.timeout(20), serving(f"unix:{path}", patience=1_000.0):
        await listening(path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /m")
        while await ask(path, b"GET /metrics HTTP/1.1\r\n\r\n") == ("", b""):
            await asyncio.sleep(0)
    assert await reader.read() == b""
    await hang_up(writer)
