"""The end of a run: everything is looked at once more, by those who share no code with the gateway and by itself."""

import asyncio
from typing import Final

from tinydb import TinyDB

from tests.support.chosen_store import CHOSEN, EMBEDDED
from tests.support.fleet import Fleet
from tests.support.gateway_process import GatewayProcess
from tests.support.judge import cache_faults, faults
from tests.support.site import Site
from tests.support.technician import Body, retained

_TABLES: Final = ("devices", "gateways")


async def assert_kept(fleet: Fleet, site: Site, *, broker_forgot: bool = False) -> str:
    """Expect that every promise was kept; stops the gateway, and returns a summary of the run.

    Whether every event was told cannot be seen where the broker forgot some of it; and of the order there, only that of
    the commands that were settled without being sent again.

    The log and the acknowledgements agree; the read cache is what follows from the log; what is retained is the cache.

    Raises:
        AssertionError: some promise was broken.
    """
    gateway = site.gateway
    log = await asyncio.to_thread(gateway.logged)
    await fleet.shown(log)
    if not broker_forgot:
        await fleet.told_of(log)
    acks = fleet.acknowledgements()
    assert await asyncio.to_thread(gateway.terminate) == 0
    log = await asyncio.to_thread(gateway.logged)
    cached = await asyncio.to_thread(_cached, gateway)
    found = faults(fleet.sent, acks, log, gapless=CHOSEN == EMBEDDED, forgotten=fleet.repeated if broker_forgot else ())
    found += cache_faults(log, cached)
    assert not found, "\n".join(found)
    verified = await asyncio.to_thread(gateway.run, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    told = await retained(site.broker.port, "state/#")
    assert {message.body["id"]: message.body for message in told.values()} == cached
    duplicates = sum(ack["duplicate"] for copies in acks.values() for ack in copies)
    return f"{len(fleet.sent)} commands, {len(log)} events, {duplicates} duplicates"


def _cached(gateway: GatewayProcess) -> dict[str, Body]:
    with TinyDB(gateway.cache, access_mode="r") as cache:
        documents = (document for table in _TABLES for document in cache.table(table).all())
        return {document["id"]: dict(document) for document in documents}
