"""SIGTERM finishes what was begun; a second signal does not wait for it."""

import asyncio
import signal
import time

from tests.support.site import Site
from tests.support.technician import Technician

MODEL = {"model": "T-1000"}
GRACE = 10.0


async def _load(tech: Technician, stop: asyncio.Event) -> None:
    """Commands of many devices; nothing waits for an acknowledgement."""
    number = 0
    while not stop.is_set():
        device = f"pump-{number % 20}"
        body = {"command_id": f"c-{number}", "data": {"properties": {"number": number}}}
        await tech.publish(f"cmd/{device}/{device}/report", body)
        number += 1


async def test_a_shutdown_under_load_is_quick_and_loses_nothing_acknowledged(own_site: Site) -> None:
    gateway = own_site.gateway
    async with own_site.technician() as tech:
        for number in range(20):
            await tech.send(f"pump-{number}", f"pump-{number}", "register", MODEL)
        stop = asyncio.Event()
        load = asyncio.create_task(_load(tech, stop))
        await tech.ack("c-200")
        began = time.monotonic()
        status = await asyncio.to_thread(gateway.terminate)
        took = time.monotonic() - began
        stop.set()
        await load
        assert (status, took < GRACE) == (0, True)
        offline = await tech.until("gateway/status", lambda status: status["state"] == "offline")
        assert offline["epoch"] == gateway.epoch
        logged = {event.id for event in gateway.logged()}
        accepted = [ack.body for acks in tech.acks.values() for ack in acks if ack.body["status"] == "accepted"]
    assert len(accepted) > 200
    assert {event["id"] for ack in accepted for event in ack["events"]} <= logged


async def test_what_a_shutdown_left_undone_is_done_by_the_next_process(own_site: Site) -> None:
    gateway = own_site.gateway
    async with own_site.technician() as tech:
        await tech.send("pump-1", "pump-1", "register", MODEL)
        bodies = [{"command_id": f"c-{count}", "data": {"properties": {"n": count}}} for count in range(300)]
        published = asyncio.gather(*(tech.publish("cmd/pump-1/pump-1/report", body) for body in bodies))
        await tech.ack("c-10")
        await asyncio.to_thread(gateway.terminate)
        await published
        await asyncio.to_thread(gateway.start)
        acks = [await tech.ack(f"c-{count}") for count in range(300)]
    assert [ack["revision"] for ack in acks] == list(range(1, 301))


async def test_a_second_signal_ends_it_at_once(own_site: Site) -> None:
    gateway, broker = own_site.gateway, own_site.broker
    async with own_site.technician() as tech:
        await tech.send("pump-1", "pump-1", "register", MODEL)
        await tech.publish("cmd/pump-1/pump-1/connect", {"command_id": "c-1"})
        # a broker that does not answer any more is what a shutdown waits for
        broker.pause()
        try:
            gateway.signal(signal.SIGTERM)
            async with asyncio.timeout(5):
                while not gateway.log("stopping"):
                    await asyncio.sleep(0.02)
            began = time.monotonic()
            gateway.signal(signal.SIGTERM)
            status = await asyncio.to_thread(gateway.wait)
        finally:
            broker.resume()
    assert time.monotonic() - began < 1
    assert status != 0
