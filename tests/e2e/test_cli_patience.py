"""How ``edge-gateway send`` waits: against a broker, and a gateway that answers as the test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from aiomqtt import Client, ProtocolVersion

from tests.support.broker import Broker
from tests.support.gateway_process import REPOSITORY, GatewayProcess

PATIENCE = 20.0


class Gateway:
    """Receives the copies of one command, and answers what it is told to."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._reply_topic = ""

    async def next_copy(self) -> dict[str, Any]:
        message = await asyncio.wait_for(anext(aiter(self._client.messages)), PATIENCE)
        assert isinstance(message.payload, bytes)
        self._reply_topic = vars(message.properties)["ResponseTopic"]
        command: dict[str, Any] = json.loads(message.payload)
        return command

    async def answer(self, payload: bytes | dict[str, Any]) -> None:
        encoded = payload if isinstance(payload, bytes) else json.dumps(payload)
        await self._client.publish(self._reply_topic, encoded, qos=1)


class Sender:
    """``edge-gateway send``, running."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def end(self) -> tuple[int | None, dict[str, Any], str]:
        """Exit status, acknowledgement and notes."""
        out, err = await asyncio.wait_for(self._process.communicate(), PATIENCE)
        return self._process.returncode, json.loads(out or b"{}"), err.decode()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    one = Broker(tmp_path / "broker")
    try:
        one.start()
        yield one
    finally:
        one.stop()


@asynccontextmanager
async def sending(broker: Broker, tmp_path: Path, *arguments: str) -> AsyncIterator[tuple[Gateway, Sender]]:
    settings = GatewayProcess(tmp_path, broker.port)
    settings.close()
    command = settings._command("send", "pump-7", "suspend", "--actor", "alice", "--id", "c-1", "--json", *arguments)
    async with Client("127.0.0.1", broker.port, protocol=ProtocolVersion.V5) as client:
        await client.subscribe("edge/gw1/cmd/alice/pump-7/suspend", qos=1)
        process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=PIPE, stderr=PIPE)
        try:
            yield Gateway(client), Sender(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def ack(status: str, code: int, **more: Any) -> dict[str, Any]:
    return {"command_id": "c-1", "status": status, "code": code, **more}


async def test_without_an_answer_the_same_command_is_sent_again(broker: Broker, tmp_path: Path) -> None:
    async with sending(broker, tmp_path) as (gateway, sender):
        first = await gateway.next_copy()
        assert await gateway.next_copy() == first == {"command_id": "c-1", "data": {}}
        await gateway.answer(ack("accepted", 200))
        assert await sender.end() == (0, ack("accepted", 200), "")


async def test_what_is_kept_for_later_is_waited_for(broker: Broker, tmp_path: Path) -> None:
    async with sending(broker, tmp_path) as (gateway, sender):
        await gateway.next_copy()
        await gateway.answer(ack("deferred", 202))
        await gateway.answer(ack("accepted", 200))
        status, settled, notes = await sender.end()
    assert (status, settled["code"], notes) == (0, 200, "not settled yet: code 202\n")


async def test_what_stays_deferred_is_printed_and_can_be_tried_again(broker: Broker, tmp_path: Path) -> None:
    async with sending(broker, tmp_path, "--timeout", "2") as (gateway, sender):
        await gateway.next_copy()
        await gateway.answer(ack("deferred", 202))
        status, newest, notes = await sender.end()
    assert (status, newest["code"]) == (75, 202)
    assert notes.endswith("send it again with --id c-1\n")


async def test_it_sends_again_as_soon_as_the_gateway_says(broker: Broker, tmp_path: Path) -> None:
    # by its own measure it would need 30 seconds for as many copies
    busy = ack("deferred", 503, retry_after_ms=50, error={"type": "store-unavailable", "message": "the store is away"})
    async with sending(broker, tmp_path, "--timeout", "10") as (gateway, sender):
        for _ in range(5):
            await gateway.next_copy()
            await gateway.answer(busy)
        await gateway.next_copy()
        await gateway.answer(ack("rejected", 422))
        status, settled, notes = await sender.end()
    assert (status, settled["code"], notes) == (65, 422, "not settled yet: the store is away\n")


async def test_what_is_no_answer_to_this_command_is_passed_over(broker: Broker, tmp_path: Path) -> None:
    other = {"command_id": "c-2", "status": "rejected", "code": 422}
    async with sending(broker, tmp_path) as (gateway, sender):
        await gateway.next_copy()
        for foreign in (b"", b"\xff", b"[]", b"{}", {"command_id": "c-1", "status": "accepted"}, other):
            await gateway.answer(foreign)
        await gateway.answer(ack("accepted", 200))
        assert await sender.end() == (0, ack("accepted", 200), "")
