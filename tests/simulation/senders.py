"""Devices and an operator: each sends its commands in order, and repeats one until it has its final acknowledgement."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

import orjson

from gateway.messages import MessageProperties
from tests.simulation.broker import ROOT, Body, Broker, Key
from tests.simulation.faults import LOSING, Trouble
from tests.simulation.gateway import OPERATOR
from tests.simulation.world import START, World

TRANSIENT: Final = frozenset({408, 429, 500, 503})
PARKED: Final = 202
REUSED: Final = "command-id-reused"

NOT_JSON: Final = b"{"


@dataclass(frozen=True, slots=True)
class Command:
    """A command as its sender knows it.

    Attributes:
        number: in the order in which it is sent, of all commands of this actor for this device.
        after: seconds from the first of them on.
        payload: what is sent, the same bytes each time.
        by_correlation: whether its id is the Correlation Data, not a field of the body.
    """

    actor: str
    device: str
    name: str
    id: str
    number: int
    after: float
    payload: bytes
    by_correlation: bool = False
    retain: bool = False
    dry_run: bool = False

    @property
    def key(self) -> Key:
        return self.actor, self.device, self.id

    @property
    def data(self) -> dict[str, Any]:
        """What it says; nothing where that cannot be read."""
        return {} if self.payload == NOT_JSON else dict(orjson.loads(self.payload)["data"])


@dataclass
class Ledger:
    """What the senders sent, and what they were told.

    Attributes:
        sent: by key.
        reused: commands whose id was sent again with other content.
    """

    sent: dict[Key, Command] = field(default_factory=dict)
    answers: defaultdict[Key, list[Body]] = field(default_factory=lambda: defaultdict(list))
    reused: set[Key] = field(default_factory=set)


class Senders:
    """All of them."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self.broker: Broker
        self._world = world
        self._ledger = ledger
        self._news: defaultdict[Key, asyncio.Event] = defaultdict(asyncio.Event)
        self._last = 0.0

    def hear(self, key: Key, body: Body) -> None:
        """An acknowledgement for one of them."""
        self._ledger.answers[key].append(body)
        self._news[key].set()

    async def send_all(self, commands: list[list[Command]]) -> None:
        """Until each command has its final acknowledgement."""
        async with asyncio.TaskGroup() as group:
            for script in commands:
                group.create_task(self._send(script, group))

    async def _send(self, script: list[Command], group: asyncio.TaskGroup) -> None:
        began = self._world.loop.time()
        for command in script:
            await self._world.until(began + command.after)
            self._ledger.sent[command.key] = command
            self._publish(command)
            group.create_task(self._settle(command), name=f"sender {command.id}")

    async def _settle(self, command: Command) -> None:
        world, again, seen = self._world, 1.0, 0
        while (answer := self.final(command.key)) is None:
            heard = self._ledger.answers[command.key]
            waits_patiently = heard and heard[-1]["code"] == PARKED and int(command.id[-1], 16) % 2
            news = self._news[command.key]
            if len(heard) == seen:
                news.clear()
                try:
                    async with asyncio.timeout(None if waits_patiently else world.dice.uniform(again / 2, again)):
                        await news.wait()
                except TimeoutError:
                    self._publish(command)
                    again = min(again * 1.5, 6.0)
                continue
            seen = len(heard)
            if heard[-1]["code"] in TRANSIENT:
                await world.wait(0.2, 1.0)
                self._publish(command)
        if world.chance(0.2):
            await world.wait(0, 8)
            self._publish(command)
        if world.chance(0.1) and not command.dry_run and answer["error_type"] is None:
            await world.wait(0, 3)
            self._ledger.reused.add(command.key)
            other = replace(
                command,
                name="report" if command.actor == command.device else "configure",
                payload=_envelope("" if command.by_correlation else command.id, {"properties": {"other": 1}}, {}),
            )
            self._publish(other)

    def final(self, key: Key) -> Body | None:
        """The answer that settles a command, with the type of its error."""
        for body in self._ledger.answers[key]:
            error = body.get("error", {}).get("type")
            if body["code"] not in TRANSIENT and body["code"] != PARKED and error != REUSED:
                return {**body, "error_type": error}
        return None

    def _publish(self, command: Command) -> None:
        world = self._world
        properties = MessageProperties(correlation_data=command.id.encode() if command.by_correlation else None)
        # in order, as over one connection
        self._last = max(self._last, world.loop.time() + world.dice.uniform(0.0005, 0.01)) + 1e-6
        topic = f"{ROOT}/cmd/{command.actor}/{command.device}/{command.name}"

        def arrive() -> None:
            world.tell("sender", "sends", command.key, command.name)
            self.broker.take(command.key, topic, command.payload, retain=command.retain, properties=properties)

        world.loop.call_at(self._last, arrive)


@dataclass(frozen=True, slots=True)
class Course:
    """What the senders go by.

    Attributes:
        pace: the longest that one waits before his next command.
        doubts: when the store may do what it is asked, and nobody hears of it.
    """

    world: World
    pace: float
    doubts: Sequence[Trouble]


def scripts(world: World, pace: float, troubles: Sequence[Trouble]) -> list[list[Command]]:
    """For each actor and device its commands, in order."""
    dice = world.dice
    course = Course(world, pace, [trouble for trouble in troubles if trouble.kind in LOSING])
    devices = [f"pump-{number}" for number in range(1, world.limits.devices + 1)]
    made = []
    for device in devices:
        made += [
            list(_script(device, device, course, dice.randint(4, 14))),
            list(_script(OPERATOR, device, course, dice.randint(2, 9))),
        ]
    if dice.random() < 0.3:
        made.append(list(_script("mallory", devices[0], course, 2)))
    return made


def _script(actor: str, device: str, course: Course, length: int) -> Iterator[Command]:
    world = course.world
    kinds = _OF_DEVICE if actor == device else _OF_OPERATOR
    after = 0.0
    for number in range(length):
        if number == 0 and (actor == device or world.chance(0.3)):
            wish: tuple[str, dict[str, Any]] = ("register", {"model": "T-1000"})
        else:
            wish = world.dice.choice(kinds)
        yield _command(course, actor, device, (number, after), wish)
        after += world.dice.uniform(0, course.pace)


def _expiry(course: Course, sent: float) -> float | None:
    """Seconds from the start on, if any: between the first copy and the last, as an expiry is in the bytes of each.

    Where the store loses answers it is often just then: whether an append was done matters most to one who must not
    be told that it was too late.
    """
    dice = course.world.dice
    if dice.random() < 0.6 and any(one.at < sent + 1 and sent < one.at + one.lasts for one in course.doubts):
        return sent + dice.uniform(0.05, 0.8)
    return dice.uniform(0.2, dice.choice((3, 8, 30))) if dice.random() < 0.15 else None


def _command(
    course: Course, actor: str, device: str, place: tuple[int, float], wish: tuple[str, dict[str, Any]]
) -> Command:
    world, (number, after), (name, data) = course.world, place, wish
    dice = world.dice
    # the last digit is drawn: some senders do by it what others do not
    command_id = f"{actor[0]}{device[-1]}-{number}-{dice.randrange(16):x}"
    if name in {"report", "configure"} and "properties" not in data:
        data = {"properties": {"count" if name == "report" else "rpm": dice.choice((number, 1, number))}}
    by_correlation = dice.random() < 0.3
    if dice.random() < 0.03:
        return Command(actor, device, name, command_id, number, after, NOT_JSON, by_correlation=True)
    extras: dict[str, Any] = {}
    if (expiry := _expiry(course, world.loop.time() + after)) is not None:
        extras["expires_at"] = (START + timedelta(seconds=expiry)).isoformat()
    match dice.choices(("", "dry", "revision", "projected"), (85, 4, 4, 7))[0]:
        case "dry":
            extras["dry_run"] = True
        case "revision":
            extras["expected_revision"] = dice.randint(0, 10)
        case "projected":
            extras["wait_for"] = "projected"
    return Command(
        actor,
        device,
        name,
        command_id,
        number,
        after,
        _envelope("" if by_correlation else command_id, data, extras),
        by_correlation=by_correlation,
        retain=dice.random() < 0.01,
        dry_run="dry_run" in extras,
    )


def _envelope(command_id: str, data: dict[str, Any], extras: dict[str, Any]) -> bytes:
    identity = {"command_id": command_id} if command_id else {}
    return orjson.dumps({**identity, "data": data, **extras})


_OF_DEVICE: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    *[("report", {})] * 8,
    ("report", {"properties": {"rpm": 1}}),
    ("connect", {}),
    ("connect", {"firmware": "2.0"}),
    ("disconnect", {}),
    ("raise-alarm", {"code": "hot", "severity": "warning"}),
    ("clear-alarm", {"code": "hot"}),
    ("clear-alarm", {"code": "never"}),
    ("suspend", {}),
    ("report", {"properties": {}}),
    ("dance", {}),
)
_OF_OPERATOR: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    *[("configure", {})] * 6,
    ("suspend", {}),
    ("resume", {}),
    ("acknowledge-alarm", {"code": "hot"}),
    ("acknowledge-alarm", {"code": "never"}),
    ("annotate", {"location": "hall 3"}),
    ("decommission", {"reason": "old"}),
    ("recommission", {"reason": "new"}),
    ("clear-alarm", {"code": "hot"}),
)
