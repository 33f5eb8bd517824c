"""Commands are parked while the store is away: kept durably, in the order of arrival, within limits.

A device that has something parked gets everything newer parked behind it: so its order holds when the store is back.
"""

import asyncio
import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Final

import structlog

from gateway.errors import StoreUnavailable
from gateway.messages import MessageProperties, Parked, ParkedEntry, Request
from gateway.ports import Clock, Delivery, EventStore, Inbox

log = structlog.get_logger()

_SHORTEST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0


@dataclass(frozen=True, slots=True)
class ParkingLimits:
    """How many commands may be parked, in all and of one actor."""

    total: int
    per_actor: int


@dataclass(frozen=True, slots=True)
class ParkedDelivery:
    """A parked command, as the broker once delivered it; see :class:`~gateway.ports.Delivery`."""

    parked: Parked
    done: Callable[[], None]
    redelivered: bool = False

    @property
    def topic(self) -> str:
        """The command's topic."""
        return self.parked.topic

    @property
    def payload(self) -> bytes:
        """The command's bytes."""
        return self.parked.payload

    @property
    def retain(self) -> bool:
        """Whether it was published as retained, and so has to be refused."""
        return self.parked.retain

    @property
    def properties(self) -> MessageProperties:
        """As they were when it came: an expiry counts from then."""
        return self.parked.properties

    def acknowledge(self) -> None:
        """Its final acknowledgement is with the broker: the inbox may forget it."""
        self.done()


class Parking:
    """Knows whether the store is away, and who waits for it.

    Attributes:
        since: when the store went away, UTC; ``None`` while it is there.
        reason: why, in the words of the last failure.
        limits: of what is parked from now on.
        attempts: how often somebody began to take commands out of the inbox.
        listeners: called when the store goes away, with the reason, and when it is back, without one.
    """

    def __init__(self, inbox: Inbox, store: EventStore, clock: Clock, limits: ParkingLimits) -> None:
        self.since: datetime | None = None
        self.reason = ""
        self.limits = limits
        self.attempts = 0
        self.listeners: list[Callable[[str | None], None]] = []
        self._since = 0.0
        self._full = False
        self._inbox = inbox
        self._store = store
        self._clock = clock
        # devices in the order of their oldest parked command, each with its commands in the order of arrival
        self._waiting: OrderedDict[str, deque[ParkedEntry]] = OrderedDict()
        self._actors: Counter[str] = Counter()
        self._arrival = 0
        self._finished: list[int] = []
        self._turned_away: set[int] = set()
        self._work = asyncio.Event()
        self._away = asyncio.Event()
        self._pause = _SHORTEST_PAUSE

    async def load(self) -> None:
        """Take up what an earlier run left behind; before any delivery is accepted.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        for entry in await self._inbox.waiting():
            self._enter(entry)
            self._arrival = max(self._arrival, entry.arrival)
        if self._waiting:
            log.info("parked_commands_found", commands=self.count, devices=len(self._waiting))

    @property
    def count(self) -> int:
        """How many commands wait."""
        return self._actors.total()

    @property
    def devices(self) -> Sequence[str]:
        """Those with parked commands, the one that waits longest first."""
        return tuple(self._waiting)

    def holds(self, device: str) -> bool:
        """Whether something waits for this device, so that newer commands have to wait behind it."""
        return device in self._waiting

    async def park(self, commands: Sequence[tuple[Delivery, Request]], most: int) -> list[bool | None]:
        """Keep commands of one device durably, in this order.

        Args:
            commands: each as it came, and as it was read.
            most: bytes that are kept of a payload, at least one more than the intake reads.

        Returns:
            For each whether it is new, or a copy of one that waits already; ``None`` for what is not kept: a dry run,
            which nobody waits for, what is beyond the limits, and a copy of one that was told to be sent again, and is
            about to leave the inbox.

        Raises:
            StoreUnavailable: the gateway's own disk does not let it; none was kept.
        """
        allowed = self._allowed(commands, most)
        to_keep = [parked for parked in allowed if parked is not None]
        # other devices park meanwhile: the room is taken before it is used
        taken = Counter(parked.entry.actor for parked in to_keep)
        self._actors += taken
        try:
            kept = await self._inbox.park(to_keep) if to_keep else ()
        finally:
            self._actors -= taken
        places = iter(kept)
        return [None if parked is None else self._is_new(parked.entry, next(places)) for parked in allowed]

    async def next_of(self, device: str, limit: int) -> list[Parked]:
        """The commands of a device that have waited longest and are not settled yet.

        Raises:
            StoreUnavailable: the gateway's own disk does not let it read.
        """
        entries = self._waiting.get(device)
        if not entries:
            return []
        self.attempts += 1
        # rows that are settled, and whose acknowledgement is under way, stand before those that wait
        found = await self._inbox.read(device, after=entries[0].arrival - 1, limit=limit)
        waiting = {entry.arrival for entry in entries}
        return [command for command in found if command.entry.arrival in waiting]

    def settle(self, entry: ParkedEntry, *, turned_away: bool = False) -> None:
        """It has its outcome, or is to be sent again: newer commands of its device need not wait for it any more."""
        if turned_away:
            self._turned_away.add(entry.arrival)
        entries = self._waiting[entry.device]
        entries.remove(entry)
        self._actors -= Counter((entry.actor,))
        if not entries:
            del self._waiting[entry.device]

    def unsettle(self, entry: ParkedEntry) -> None:
        """Its final acknowledgement did not reach the broker: it is given again, by the memory of outcomes."""
        self._turned_away.discard(entry.arrival)
        self._enter(entry)

    def finish(self, entry: ParkedEntry) -> None:
        """Its final acknowledgement is with the broker: the inbox forgets it soon."""
        self._finished.append(entry.arrival)
        self._work.set()

    @property
    def away(self) -> bool:
        """Whether the store is known to be away, so that waiting for it is no use."""
        return self._away.is_set()

    def lost(self, reason: str) -> None:
        """The store did not answer, or not in time."""
        self._take_note(reason)
        self._away.set()

    def full(self, reason: str) -> None:
        """The store has no room. It is asked all the same, for what it knows needs none."""
        self._take_note(reason)
        self._full = True

    def served(self, *, wrote: bool = True) -> None:
        """The store did what it was asked."""
        if self._full and not wrote:
            return
        self._pause = _SHORTEST_PAUSE
        if self.since is not None:
            seconds = self._clock.monotonic() - self._since
            log.info("event_store_back", away_s=round(seconds, 1), parked=self.count)
            self.since = None
            self._tell(None)
        self._full = False
        self._away.clear()

    def _take_note(self, reason: str) -> None:
        self.reason = reason
        if self.since is None:
            self.since, self._since = self._clock.now(), self._clock.monotonic()
            log.warning("event_store_away", reason=reason)
            self._tell(reason)

    async def probe(self, resume: Callable[[str], None]) -> None:
        """While the store is away, ask for it now and then; once it answers, let the devices go on. For ever."""
        while True:
            await self._away.wait()
            await asyncio.sleep(random.uniform(self._pause / 2, self._pause))  # noqa: S311 - no secret
            # it grows until a command is served: a store may answer questions and yet write nothing
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            try:
                await self._store.head()
            except StoreUnavailable as error:
                self.reason = str(error)
                continue
            self._away.clear()
            for device in self.devices:
                resume(device)

    async def forget_finished(self) -> None:
        """Remove from the inbox what is finished, for ever."""
        while True:
            await self._work.wait()
            self._work.clear()
            finished, self._finished = self._finished, []
            try:
                await self._inbox.remove(finished)
                self._turned_away.difference_update(finished)
            except StoreUnavailable as error:
                # they would only be answered once more after a restart
                log.warning("inbox_not_cleared", error=str(error), next_try_s=_LONGEST_PAUSE)
                self._finished += finished
                self._work.set()
                await asyncio.sleep(_LONGEST_PAUSE)

    def _tell(self, reason: str | None) -> None:
        for listener in self.listeners:
            listener(reason)

    def _allowed(self, commands: Sequence[tuple[Delivery, Request]], most: int) -> list[Parked | None]:
        """Those that there is room for, in all and for their actor, numbered."""
        actors = self._actors.copy()
        allowed: list[Parked | None] = []
        for delivery, request in commands:
            actor = request.actor
            if request.dry_run or actors.total() >= self.limits.total or actors[actor] >= self.limits.per_actor:
                allowed.append(None)
                continue
            actors[actor] += 1
            self._arrival += 1
            allowed.append(_parked(delivery, request, self._arrival, most))
        return allowed

    def _is_new(self, entry: ParkedEntry, arrival: int) -> bool | None:
        """Of a command that is kept under this number: whether it is new; ``None`` if no more will be said of it."""
        if arrival == entry.arrival:
            self._enter(entry)
            return True
        return None if arrival in self._turned_away else False

    def _enter(self, entry: ParkedEntry) -> None:
        entries = self._waiting.setdefault(entry.device, deque())
        # nearly always the last; after a lost acknowledgement it goes back to its place
        at = len(entries)
        while at and entries[at - 1].arrival > entry.arrival:
            at -= 1
        entries.insert(at, entry)
        self._actors[entry.actor] += 1


def _parked(delivery: Delivery, request: Request, arrival: int, most: int) -> Parked:
    properties = delivery.properties
    copy_of = None
    if request.sender_gave_id:
        parts = (delivery.topic, properties.response_topic or "", repr(properties.correlation_data))
        copy_of = blake2b("\n".join((*parts, "")).encode() + delivery.payload, digest_size=16).digest()
    return Parked(
        ParkedEntry(arrival, request.actor, request.device),
        request.command_id,
        copy_of,
        request.received_at,
        delivery.topic,
        delivery.payload[:most],
        delivery.retain,
        properties,
    )
