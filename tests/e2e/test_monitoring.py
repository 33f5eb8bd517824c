import http.client
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.asking import ask
from tests.support.site import Site, site
from tests.support.technician import PATIENCE


class UnixConnection(http.client.HTTPConnection):
    """To a unix socket, as ``curl --unix-socket`` does."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def fetch(path: Path, page: str) -> tuple[int, str]:
    connection = UnixConnection(path)
    try:
        connection.request("GET", page)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def sample(path: Path, name: str) -> float:
    lines = fetch(path, "/metrics")[1].splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == f"edge_gateway_{name}")


def until_is(look: Callable[[], object], wanted: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while (found := look()) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Path]]:
    directory = tmp_path_factory.mktemp("monitored")
    path = directory / "metrics.sock"
    with site(directory, {"metrics": {"listen": f"unix:{path}"}}) as one:
        yield one, path


async def test_every_command_is_counted_and_timed_in_each_step(monitored: tuple[Site, Path], device: str) -> None:
    one, path = monitored
    names = [f'step_seconds_count{{step="{step}"}}' for step in ("intake", "queue", "settle", "append", "total")]
    before = [sample(path, name) for name in names]
    async with one.technician() as tech:
        await tech.send(device, device, "register", {"model": "T-1000"})
        refused = await tech.send(device, device, "connect", {"firmware": 7})
    assert refused["code"] == 422
    # the technician may have the answer before the gateway hears that the broker has it
    until_is(lambda: sample(path, "in_flight_commands"), 0)
    after = [sample(path, name) for name in names]
    assert [late - early for early, late in zip(before, after, strict=True)] == [2, 2, 2, 1, 2]
    assert sample(path, 'refusals_total{code="422",type="invalid-field"}') == 1


async def test_every_query_is_counted_by_its_code(monitored: tuple[Site, Path]) -> None:
    one, path = monitored
    names = ['queries_total{code="200",query="list"}', 'queries_total{code="403",query="summary"}']
    async with one.technician() as tech:
        assert (await ask(tech, "alice", "list"))["code"] == 200
        assert (await ask(tech, "mallory", "summary"))["code"] == 403
        assert (await ask(tech, "mallory", "made-up"))["code"] == 404
    assert [sample(path, name) for name in (*names, 'queries_total{code="404",query="unknown"}')] == [1, 1, 1]


async def test_a_gateway_without_its_broker_is_alive_and_not_ready(monitored: tuple[Site, Path]) -> None:
    one, path = monitored
    until_is(lambda: fetch(path, "/readyz"), (200, "ready\n"))
    one.broker.stop()
    until_is(lambda: fetch(path, "/readyz"), (503, "no connection to the broker\n"))
    assert fetch(path, "/healthz") == (200, "alive\n")
    one.broker.start()
    until_is(lambda: fetch(path, "/readyz"), (200, "ready\n"))
