"""Who may do what: users, passwords, TLS, and a node that is read only."""

import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters import esdb_client as esdb
from tests.support.eventstoredb.protos import grpc, shared_pb2
from tests.support.eventstoredb.raw_client import RawClient, batch, proposed, raw_client, read_request
from tests.support.eventstoredb.records import ANY, NO_STREAM
from tests.support.eventstoredb.server import StandIn
from tests.support.eventstoredb_process import stand_in

Headers = tuple[tuple[str, str], ...]
NOBODY: Headers = ()


def header(user: str, password: str) -> Headers:
    return (("authorization", "Basic " + b64encode(f"{user}:{password}".encode()).decode()),)


async def read(raw: RawClient, headers: Headers) -> Any:
    """The status and the trailers that a read ends with; the number of events where it succeeds."""
    try:
        return len([answer async for answer in raw.streams.Read(read_request(), metadata=headers)])
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details(), error.trailing_metadata().get("exception")


async def test_who_does_not_say_who_they_are_is_denied() -> None:
    async with stand_in(user="admin", password="changeit") as server, raw_client(server.port) as raw:
        denied = (grpc.StatusCode.PERMISSION_DENIED, "Access Denied", "access-denied")

        assert await read(raw, NOBODY) == denied
        (answer,) = await raw.batches(batch("a", ANY, proposed()), metadata=NOBODY)

        assert answer.error.details.Is(shared_pb2.AccessDenied.DESCRIPTOR)
        assert server.log.current("a") == NO_STREAM


@pytest.mark.parametrize("headers", [header("admin", "wrong"), header("nobody", "changeit")])
async def test_a_wrong_password_is_no_authentication(headers: Headers) -> None:
    async with stand_in(user="admin", password="changeit") as server, raw_client(server.port) as raw:
        code, _, _ = await read(raw, headers)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw.batches(batch("a", ANY, proposed()), metadata=headers)

        assert code is caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert server.log.current("a") == NO_STREAM


async def test_the_right_password_is_let_in() -> None:
    async with stand_in(user="admin", password="changeit") as server, raw_client(server.port) as raw:
        (answer,) = await raw.batches(batch("a", ANY, proposed()), metadata=header("admin", "changeit"))

        assert answer.WhichOneof("result") == "success"
        assert await read(raw, header("admin", "changeit")) == 2


async def test_a_node_that_is_read_only_can_be_read(server: StandIn, raw: RawClient) -> None:
    await raw.append("a", NO_STREAM, proposed())
    server.node.read_only = True

    answer = await raw.append("a", 0, proposed())

    assert answer.error.details.Is(shared_pb2.AccessDenied.DESCRIPTOR)
    assert await read(raw, NOBODY) == 2


@pytest.mark.parametrize("call", ["append_single", "delete", "tombstone"])
async def test_a_node_that_is_read_only_denies_every_write(server: StandIn, raw: RawClient, call: str) -> None:
    await raw.append("a", NO_STREAM, proposed())
    server.node.read_only = True

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(raw, call)("a", 0)

    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Of 127.0.0.1, and its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize(("password", "works"), [("changeit", True), ("wrong", False)])
async def test_a_client_gives_its_password_over_tls(
    certificate: tuple[Path, Path], password: str, *, works: bool
) -> None:
    public, key = certificate
    async with stand_in(certificate=public, key=key, user="admin", password="changeit") as server:
        client = esdb.Client(f"esdb://admin:{password}@127.0.0.1:{server.port}?TlsCaFile={public}")
        await client.connect()
        try:
            event = esdb.NewEvent(type="Counted", data=b"{}")
            await client.append_to_stream("a", current_version=esdb.StreamState.NO_STREAM, events=[event], timeout=5)
        except esdb.ClientError:
            assert not works
        await client.close()

        assert server.log.current("a") == (0 if works else NO_STREAM)
