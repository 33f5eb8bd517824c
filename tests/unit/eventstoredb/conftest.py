from collections.abc import AsyncIterator

import pytest

from tests.support.eventstoredb.raw_client import RawClient, raw_client
from tests.support.eventstoredb.server import StandIn
from tests.support.eventstoredb_process import stand_in


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    async with stand_in() as server:
        yield server


@pytest.fixture
async def raw(server: StandIn) -> AsyncIterator[RawClient]:
    async with raw_client(server.port) as raw:
        yield raw
