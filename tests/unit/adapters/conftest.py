"""A link with a connection to a broker that does what a test tells it."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.link_log import LinkLog, running_link
from tests.support.scripted_broker import Peer, ScriptedBroker, scripted_broker


@pytest_asyncio.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    async with scripted_broker() as one:
        yield one


@pytest_asyncio.fixture
async def up(broker: ScriptedBroker) -> AsyncIterator[tuple[LinkLog, Peer]]:
    """A link with a connection, and the broker's end of it."""
    async with running_link(broker.port) as log:
        peer = await broker.connection()
        await peer.greet()
        await log.until_connected()
        yield log, peer
