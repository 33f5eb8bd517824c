"""The control port: one JSON object a line, one answer a line."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.support.eventstoredb.node import Node, Role


@asynccontextmanager
async def control_port(node: Node) -> AsyncIterator[int]:
    """Listen on 127.0.0.1 until the block ends.

    Yields:
        The port.
    """

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(json.dumps(_obey(node, line)).encode() + b"\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _obey(node: Node, line: bytes) -> dict[str, Any]:
    """Do what one line says: ``{"fault": {...}}``, ``{"clear": {}}`` or ``{"node": {...}}``."""
    try:
        for name, details in json.loads(line).items():
            _COMMANDS[name](node, **details)
    except (KeyError, TypeError, ValueError) as error:
        return {"error": f"{line!r} is not understood: {error!r}"}
    return {"pending": len(node.faults.pending)}


def _fault(node: Node, **details: Any) -> None:
    node.faults.set(**details)


def _clear(node: Node) -> None:
    node.faults.clear()


def _change(
    node: Node, *, role: str | None = None, leader: list[Any] | None = None, read_only: bool | None = None
) -> None:
    if role is not None:
        node.role = Role(role)
    if leader is not None:
        node.leader = (leader[0], leader[1])
    if read_only is not None:
        node.read_only = read_only


_COMMANDS: Final[dict[str, Callable[..., None]]] = {"fault": _fault, "clear": _clear, "node": _change}
