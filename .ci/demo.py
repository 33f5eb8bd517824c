"""A tour of the gateway that runs by itself: its own broker, a small fleet, and a kill -9 in the middle.

Every check prints one line, "ok ..." or "FAILED ..."; the exit status is 0 only if every check held.
"""
# ruff: noqa: INP001, PLR2004, T201 - a script: no package, it prints, and the protocol's codes speak for themselves

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from demo_stage import Body, Gateway, Technician, broker, technician
from tinydb import TinyDB

STREAM: Final = 400
KILL_AT: Final = 150

COLOURS: Final = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code: str, text: str) -> str:
    """The text in a colour, on a terminal that wants it."""
    return f"\x1b[{code}m{text}\x1b[0m" if COLOURS else text


class Report:
    """What the viewer sees, and whether everything held."""

    def __init__(self) -> None:
        self.checks = 0
        self.failed = 0

    def chapter(self, title: str) -> None:
        """A heading."""
        print(f"\n{paint('1', title)}")

    def say(self, text: str) -> None:
        """A line of the story."""
        print(f"   {paint('2', text)}")

    def check(self, holds: object, what: str) -> None:
        """One line for one check."""
        self.checks += 1
        self.failed += not holds
        print(f"   {paint('32', 'ok') if holds else paint('1;31', 'FAILED')} {what}")


class Tour:
    """The story, chapter by chapter."""

    def __init__(self, report: Report, gateway: Gateway, tech: Technician) -> None:
        self.report = report
        self.gateway = gateway
        self.tech = tech
        self._commands = 0

    async def run(self) -> None:
        """All chapters."""
        await self._beginning()
        await self._fleet()
        await self._configuration()
        await self._alarm()
        await self._refusals()
        await self._kill()
        await self._ending()

    async def _tell(self, who: str, device: str, command: str, data: Body, command_id: str | None = None) -> Body:
        """Send a command, and show it with its acknowledgement."""
        self._commands += 1
        ack = await self.tech.send(who, device, command, data, command_id or f"demo-{self._commands}")
        outcome = ", ".join(event["type"] for event in ack["events"]) or ack.get("error", {}).get("message", "")
        copy = " (a copy: nothing happened twice)" if ack["duplicate"] else ""
        self.report.say(f"{who:8} {command} {device} {json.dumps(data)}")
        revision = "" if ack["revision"] is None else f", revision {ack['revision']}"
        self.report.say(f"{'':8} -> {ack['code']} {ack['status']}{revision}: {outcome}{copy}")
        return ack

    async def _beginning(self) -> None:
        self.report.chapter("1. The gateway starts")
        began = time.monotonic()
        self.gateway.start()
        online = await self._online(0)
        self.report.check(online, f"it is online after {time.monotonic() - began:.1f} s")
        await self.tech.until(lambda: "gateway/info" in self.tech.latest)
        commands = self.tech.latest.get("gateway/info", {}).get("commands", {})
        self.report.check(
            len(commands) == 15, f"it describes itself: {len(commands)} commands, each with its JSON Schema"
        )

    async def _fleet(self) -> None:
        self.report.chapter("2. A small fleet registers, connects and reports")
        first = await self._tell("pump-7", "pump-7", "register", {"model": "T-1000", "serial": "0815"})
        self.report.check(first["code"] == 201, "a new device exists: its first event is durable")
        await self._tell("alice", "valve-2", "register", {"model": "V-2"})
        await self._tell("pump-7", "pump-7", "connect", {"firmware": "1.4.2"})
        await self._tell("pump-7", "pump-7", "report", {"properties": {"rpm": 900, "temperature": 41.5}})
        self.report.check(await self._reported("pump-7", {"rpm": 900, "temperature": 41.5}), "its state is retained:")
        state = self.tech.latest["state/pump-7"]
        shown = ("id", "model", "status", "reported", "revision")
        self.report.say(json.dumps({name: state.get(name) for name in shown}))

    async def _configuration(self) -> None:
        self.report.chapter("3. An operator asks, the device applies")
        wish = {"properties": {"rpm": 1200}}
        await self._tell("alice", "pump-7", "configure", wish)
        told = await self.tech.until(
            lambda: self.tech.latest.get("config/pump-7", {}).get("properties") == {"rpm": 1200}
        )
        self.report.check(told, "the wish is retained for the device on config/pump-7")
        self.report.check(
            await self._reported("pump-7", {"rpm": 900, "temperature": 41.5}), "what is reported stays as it is"
        )
        applied = await self._tell("pump-7", "pump-7", "report", wish)
        types = [event["type"] for event in applied["events"]]
        self.report.check("ConfigurationApplied" in types, "the report confirms it")

    async def _alarm(self) -> None:
        self.report.chapter("4. An alarm")
        await self._tell("pump-7", "pump-7", "raise-alarm", {"code": "overheat", "severity": "critical"})
        seen = await self.tech.until(lambda: "overheat" in self.tech.latest.get("state/pump-7", {}).get("alarms", {}))
        self.report.check(seen, "it stands in the retained state")
        await self._tell("alice", "pump-7", "acknowledge-alarm", {"code": "overheat", "note": "on my way"})
        cleared = await self._tell("pump-7", "pump-7", "clear-alarm", {"code": "overheat"})
        self.report.check(cleared["code"] == 200, "it is acknowledged and cleared")

    async def _refusals(self) -> None:
        self.report.chapter("5. What is refused, and what is repeated")
        stranger = await self._tell("mallory", "pump-7", "suspend", {})
        self.report.check(stranger["code"] == 403, "a stranger may do nothing")
        first = await self._tell("alice", "valve-2", "annotate", {"location": "Hall 3"}, "note-1")
        copy = await self._tell("alice", "valve-2", "annotate", {"location": "Hall 3"}, "note-1")
        self.report.check(copy["duplicate"] and copy["revision"] == first["revision"], "a copy has the original answer")
        other = await self._tell("alice", "valve-2", "annotate", {"location": "Hall 4"}, "note-1")
        self.report.check(other["code"] == 409, "the same id with other content is refused")

    async def _kill(self) -> None:
        self.report.chapter(f"6. kill -9 in the middle of {STREAM} commands")
        before = self.tech.latest["gateway/status"]["epoch"]
        async with asyncio.TaskGroup() as group:
            sending = [group.create_task(self._count(number)) for number in range(STREAM)]
            await self.tech.until(lambda: f"count-{KILL_AT}" in self.tech.acks)
            done = sum(task.done() for task in sending)
            await asyncio.to_thread(self.gateway.end, signal.SIGKILL)
            self.report.say(f"killed when {done} of {STREAM} were acknowledged; started again")
            self.gateway.start()
            self.report.check(await self._online(before), "it is online again, with a higher epoch")
        acks = [self.tech.acks[f"count-{number}"] for number in range(STREAM)]
        self.report.check(
            all(copies[0]["code"] == 200 for copies in acks), f"all {STREAM} are acknowledged: nothing is lost"
        )
        revisions = [copies[0]["revision"] for copies in acks]
        once = revisions == list(range(revisions[0], revisions[0] + STREAM))
        self.report.check(once, "each took effect once, in the order sent: their revisions have no gap and no repeat")
        async with asyncio.TaskGroup() as group:
            for number in range(STREAM):
                group.create_task(self._count(number))
        copies_told = all(copies[-1]["duplicate"] for copies in acks)
        self.report.check(copies_told, "all of them sent once more: every copy is recognised as a duplicate")
        agreed = all(len({(ack["code"], ack["revision"]) for ack in copies}) == 1 for copies in acks)
        self.report.check(agreed, "and has the original answer")

    async def _ending(self) -> None:
        self.report.chapter("7. What is left")
        history = await asyncio.to_thread(self.gateway.ask, "history", "pump-7", "--limit", "8")
        for line in history.stdout.splitlines():
            self.report.say(line[:150])
        self.report.check(history.returncode == 0, "the history tells who did what, when, and with which command")
        status = await asyncio.to_thread(self.gateway.end, signal.SIGTERM)
        self.report.check(status == 0, "SIGTERM: an orderly end, exit status 0")
        offline = await self.tech.until(lambda: self.tech.latest["gateway/status"]["state"] == "offline")
        self.report.check(offline, "it said goodbye on gateway/status")
        verified = await asyncio.to_thread(self.gateway.ask, "verify")
        self.report.check(verified.returncode == 0, "the read cache equals a fold of the log")
        with TinyDB(self.gateway.cache, access_mode="r") as cache:
            (pump,) = [document for document in cache.table("devices") if document["id"] == "pump-7"]
        self.report.check(
            pump["reported"]["count"] == STREAM - 1, "plain TinyDB reads it: pump-7 has counted to the end"
        )

    async def _count(self, number: int) -> None:
        await self.tech.send("pump-7", "pump-7", "report", {"properties": {"count": number}}, f"count-{number}")

    async def _online(self, after: int) -> bool:
        def online() -> bool:
            status = self.tech.latest.get("gateway/status", {})
            return status.get("state") == "online" and status["epoch"] > after

        return await self.tech.until(online)

    async def _reported(self, device: str, properties: Body) -> bool:
        return await self.tech.until(lambda: self.tech.latest.get(f"state/{device}", {}).get("reported") == properties)


async def play(port: int, gateway: Gateway, report: Report) -> None:
    """Connect, and tell the story."""
    async with technician(port) as tech:
        await Tour(report, gateway, tech).run()


def main() -> int:
    """The whole demo; returns the exit status."""
    report = Report()
    began = time.monotonic()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-gateway-demo-")))
        port = stack.enter_context(broker(directory))
        gateway = Gateway(directory, port)
        stack.callback(gateway.end, signal.SIGKILL)
        try:
            asyncio.run(play(port, gateway, report))
        except Exception as error:  # noqa: BLE001 - whatever it is, the viewer is told
            report.check(holds=False, what=f"the tour to end: {error!r}")
        if report.failed:
            print(gateway.log_tail())
    took = time.monotonic() - began
    held = report.checks - report.failed
    print(f"\n{paint('1', f'{held} of {report.checks} checks held')} in {took:.0f} s")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
