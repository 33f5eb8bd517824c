"""A store that cannot write, or that holds what this version cannot read: told as transient, healed by itself."""

import sqlite3
from contextlib import closing
from uuid import uuid4

import pytest

from tests.support.disk import no_room
from tests.support.site import Site
from tests.support.technician import Technician

MODEL = {"model": "T-1000"}

pytestmark = pytest.mark.embedded


async def test_a_full_disk_defers_commands_and_they_take_effect_when_there_is_room(own_site: Site) -> None:
    async with own_site.technician() as tech:
        before = await tech.send("pump-1", "pump-1", "register", MODEL)
        with no_room(own_site.gateway):
            deferred = await tech.send("pump-1", "pump-1", "connect", id="c-1")
            copy = await tech.send("pump-1", "pump-1", "register", MODEL, id=before["command_id"])
        settled = await _until_settled(tech, "c-1")
    assert (deferred["status"], deferred["code"]) == ("deferred", 503)
    assert deferred["retry_after_ms"] > 0
    assert (copy["code"], copy["duplicate"]) == (201, True), "what is known needs no room"
    assert (settled["code"], settled["revision"]) == (200, 1)


async def _until_settled(tech: Technician, command_id: str) -> dict[str, object]:
    while True:
        ack = await tech.send("pump-1", "pump-1", "connect", id=command_id)
        if ack["status"] != "deferred":
            return ack


async def test_a_device_with_a_history_from_the_future_is_degraded_and_the_others_go_on(own_site: Site) -> None:
    gateway = own_site.gateway
    async with own_site.technician() as tech:
        await tech.send("pump-1", "pump-1", "register", MODEL)
        assert gateway.terminate() == 0
        with closing(sqlite3.connect(gateway.database)) as database, database:
            database.execute(
                "INSERT INTO events SELECT max(position) + 1, 1, 1, 0, ?, 'FromTheFuture', ?, ? FROM events",
                (uuid4().bytes, b"{}", b'{"v": 1}'),
            )
        gateway.start()
        deferred = await tech.send("pump-1", "pump-1", "connect")
        other = await tech.send("pump-2", "pump-2", "register", MODEL)
        state = await tech.until("state/pump-1", lambda state: state["degraded"])
    assert (deferred["status"], deferred["code"], deferred["error"]["type"]) == ("deferred", 500, "device-degraded")
    assert other["code"] == 201
    assert state["revision"] == 1
