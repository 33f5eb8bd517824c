"""Devices and an operator under load. They repeat a command until it is settled, and some of them once more.

Some they send only once: what a broker has taken, and has not lost, must be settled without their doing.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Final

from tests.support.event_log import LoggedEvent
from tests.support.judge import Key, Sent
from tests.support.technician import Body, Technician

DEVICES: Final = [f"pump-{number}" for number in range(6)]
OPERATOR: Final = "alice"
IN_FLIGHT: Final = 5
PACE: Final = 0.03
AGAIN_AFTER: Final = 1.0
PATIENCE: Final = 60
COPY_ONE_IN: Final = 10
ONCE_ONE_IN: Final = 3
PARKED: Final = 202

CommandAt = Callable[[str, int], Sent]


@dataclass(frozen=True)
class Fleet:
    """Senders at one broker.

    Attributes:
        broker_forgets: whether the broker may lose what it was given, so that every command has to be repeated.
        sent: every command, each sender's in the order in which he sent them first.
        repeated: those that were sent again before they were settled: the broker may have forgotten the first copy.
    """

    tech: Technician
    broker_forgets: bool = False
    sent: list[Sent] = field(default_factory=list)
    repeated: set[Key] = field(default_factory=set)

    async def register(self) -> None:
        """Let every device become known."""
        for device in DEVICES:
            one = Sent(device, device, "register", f"{device}-register", {"model": "T-1000"}, 201)
            self.sent.append(one)
            await self._publish(one)
            await self._settle(one)

    async def send(self, stop: asyncio.Event) -> None:
        """Send from all sides until told to stop; then every command is settled."""
        async with asyncio.TaskGroup() as group:
            for device in DEVICES:
                for command_at in (_of_device, _of_operator):
                    group.create_task(self._send(command_at, device, stop))

    def acknowledgements(self) -> dict[str, list[Body]]:
        """All that settle a command, by its id."""
        return {command_id: _final([ack.body for ack in acks]) for command_id, acks in self.tech.acks.items()}

    async def shown(self, log: Sequence[LoggedEvent]) -> None:
        """Wait until the newest state has been published."""
        for device, revision in {event.device: event.revision for event in log}.items():
            await self.tech.until(f"state/{device}", partial(_has_reached, revision))

    async def told_of(self, log: Sequence[LoggedEvent]) -> None:
        """Wait until every event of this log has been published."""
        await self.tech.first(lambda message: message.body.get("id") == log[-1].id)
        told = {message.body["id"] for message in self.tech.received if message.topic.startswith("event/")}
        untold = [f"{event.position} {event.type} of {event.stream}" for event in log if event.id not in told]
        assert not untold, f"{len(untold)} of {len(log)} events were not told: {', '.join(untold[:10])}"

    async def _send(self, command_at: CommandAt, device: str, stop: asyncio.Event) -> None:
        """One sender's commands for one device, a few of them under way at once."""
        window = asyncio.Semaphore(IN_FLIGHT)

        async def settle(one: Sent) -> None:
            await self._settle(one)
            window.release()

        async with asyncio.TaskGroup() as group:
            for number in count():
                await window.acquire()
                if stop.is_set():
                    return
                one = command_at(device, number)
                self.sent.append(one)
                # the first copies go out in order; only then does a task of its own repeat it
                await self._publish(one)
                group.create_task(settle(one))
                await asyncio.sleep(random.uniform(0, PACE))

    async def _settle(self, one: Sent) -> None:
        """Repeat a command until it is acknowledged, and some of them once more."""
        sent_once = not self.broker_forgets and not random.randrange(ONCE_ONE_IN)
        for _ in range(PATIENCE):
            try:
                await self._settled(one.id)
                break
            except TimeoutError:
                if not sent_once:
                    self.repeated.add(one.key)
                    await self._publish(one)
        if not random.randrange(COPY_ONE_IN):
            await self._publish(one)

    async def _settled(self, command_id: str) -> None:
        """Wait until a command has an answer that settles it: it may be parked before."""
        async with asyncio.timeout(AGAIN_AFTER):
            index = 0
            while not _final([await self.tech.ack(command_id, index)]):
                index += 1

    async def _publish(self, one: Sent) -> None:
        body = {"command_id": one.id, "data": one.data}
        await self.tech.publish(f"cmd/{one.actor}/{one.device}/{one.command}", body)


def _final(acks: Sequence[Body]) -> list[Body]:
    """The answers that settle a command: a store of either kind may be slow, and the command parked."""
    return [ack for ack in acks if ack["code"] != PARKED]


def _of_device(device: str, number: int) -> Sent:
    """Mostly reports, each of which changes something; some commands that change nothing or are refused."""
    command_id = f"{device}-d{number}"
    match number % 10:
        case 3:
            return Sent(device, device, "clear-alarm", command_id, {"code": "never_raised"}, 204)
        case 7:
            return Sent(device, device, "suspend", command_id, {}, 403)
        case _:
            return Sent(device, device, "report", command_id, {"properties": {"count": number}}, 200)


def _of_operator(device: str, number: int) -> Sent:
    """Configurations, each another one; and acknowledgements of an alarm that nobody raised."""
    command_id = f"{device}-o{number}"
    if number % 10 == 5:
        return Sent(OPERATOR, device, "acknowledge-alarm", command_id, {"code": "never_raised"}, 422)
    return Sent(OPERATOR, device, "configure", command_id, {"properties": {"rpm": number}}, 200)


def _has_reached(revision: int, state: Body) -> bool:
    # the gateway may record an outage meanwhile
    return bool(state["revision"] >= revision)
