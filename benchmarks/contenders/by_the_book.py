"""What one writes with aiomqtt and its documentation.

Run ``python -m benchmarks.contenders.by_the_book HOW PORT ROOT DIRECTORY``, where HOW is one of these.
``echo``: a task for each message, which awaits the publishing of the answer and acknowledges then; no work.
``naive``: a gateway of one evening. One command after the other is parsed, committed to SQLite, and answered.
"""

import asyncio
import json
import logging
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

RECEIVE_MAXIMUM: Final = 100
"""As the gateway has it."""

_UNHEARD: Final = logging.getLogger("by the book")
"""aiomqtt complains of each publish above ten that waits."""
_UNHEARD.disabled = True


@asynccontextmanager
async def connected(port: int, root: str, *, by_hand: bool) -> AsyncIterator[aiomqtt.Client]:
    """A client that is subscribed.

    Args:
        port: of the broker.
        root: of the topics.
        by_hand: whether the application acknowledges; the documentation knows no way.
    """
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    client = aiomqtt.Client(
        "127.0.0.1",
        port,
        identifier=f"by-the-book-{root.replace('/', '-')}",
        protocol=aiomqtt.ProtocolVersion.V5,
        properties=properties,
        # without it each small packet waits 40 ms for company, and nothing else would be measured
        socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        logger=_UNHEARD,
    )
    client._client.manual_ack_set(by_hand)  # noqa: SLF001 - there is no public way
    async with client:
        await client.subscribe(f"{root}/cmd/+/+/+", qos=1)
        print("ready", flush=True)
        yield client


def answer_topic(message: aiomqtt.Message) -> str:
    """Where the sender waits for the answer."""
    return message.topic.value.replace("/cmd/", "/ack/", 1).rpartition("/")[0]


async def echo(port: int, root: str) -> None:
    """Echo until killed."""
    async with connected(port, root, by_hand=True) as client, asyncio.TaskGroup() as group:

        async def handle(message: aiomqtt.Message) -> None:
            await client.publish(answer_topic(message), message.payload, qos=1)
            client._client.ack(message.mid, 1)  # noqa: SLF001 - there is no public way

        async for message in client.messages:
            group.create_task(handle(message))


async def naive(port: int, root: str, directory: Path) -> None:
    """Take commands until killed."""
    # WAL with full synchronisation is the kindest choice that is still durable: one fsync for each command
    database = sqlite3.connect(directory / "naive.db")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE events (id TEXT PRIMARY KEY, device TEXT, command TEXT, data TEXT, at TEXT)")
    async with connected(port, root, by_hand=False) as client:
        async for message in client.messages:
            device, command = message.topic.value.split("/")[-2:]
            body: dict[str, Any] = json.loads(message.payload)
            with database:
                database.execute(
                    "INSERT INTO events VALUES (?, ?, ?, ?, datetime('now'))",
                    (body["command_id"], device, command, json.dumps(body["data"])),
                )
            answer = {"command_id": body["command_id"], "status": "accepted"}
            await client.publish(answer_topic(message), json.dumps(answer), qos=1)


def main() -> None:
    """Be what the command line says."""
    how, port, root, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    asyncio.run(echo(port, root) if how == "echo" else naive(port, root, directory))


if __name__ == "__main__":
    main()
