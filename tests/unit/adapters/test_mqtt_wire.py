import asyncio
import socket

import aiomqtt
import pytest

from gateway.adapters.mqtt_wire import Wire

pytestmark = pytest.mark.embedded

LARGE = b"x" * 8_000_000


@pytest.mark.parametrize("goes_out", [True, False], ids=["what waited has gone out", "something waits"])
async def test_the_loop_watches_for_writing_only_while_something_waits(*, goes_out: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        theirs.settimeout(0)
        client = aiomqtt.Client("127.0.0.1")
        client._client._sock = ours
        wire = Wire(client, lambda _publish: None, lambda _packet_id, _code: None)
        wire.put(LARGE)
        wire._flush()
        # before the loop comes to watch, the other side reads, and another turn writes the rest
        left = len(LARGE) if goes_out else 0
        while left:
            left -= len(theirs.recv(left))
            wire._write()
        for _ in range(3):
            await asyncio.sleep(0)
        watched = asyncio.get_running_loop().remove_writer(ours)
        client._client._sock = None
    assert watched is not goes_out
