"""The ledger of outages: kept durably while they last, recorded in the gateway's own stream when they are over.

An outage goes the way of every command, under an id of its own, so a crash at any point records it once. What comes
back within some seconds is the same outage: a line that flaps must not fill the log.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from hashlib import blake2b
from math import inf
from typing import Any, Final

import structlog

from gateway.domain.decider import Role
from gateway.domain.outages import GATEWAY, TO_ACKNOWLEDGE, OutageKind, RecordOutage
from gateway.errors import StoreUnavailable
from gateway.handler import Handler
from gateway.ids import event_id, new_id
from gateway.messages import PendingOutage, ReplyTo, Request
from gateway.ports import Clock, PendingOutages, ReadModel

log = structlog.get_logger()

RETRY: Final = 5.0
LONGEST_CAUSE: Final = 256

_NOBODY: Final = ReplyTo("")
_SHOWN: Final = ("kind", "began_at", "ended_at", "affected")


class OutageLedger:
    """Takes note of outages; see the module.

    Attributes:
        pending: what is not in the log yet, oldest first.
    """

    def __init__(  # noqa: PLR0913 - what it stands between
        self, rows: PendingOutages, handler: Handler, cache: ReadModel, clock: Clock, *, gateway: str, settle: float
    ) -> None:
        """Take note of nothing yet.

        Args:
            rows: where outages are kept while they last.
            handler: by which they get into the log.
            cache: that shows the ledger.
            clock: for begin and end.
            gateway: name of this gateway, and of its stream.
            settle: seconds after which an outage does not come back but is another one.
        """
        self._rows = rows
        self._handler = handler
        self._cache = cache
        self._clock = clock
        self._gateway = gateway
        self._settle = settle
        self._pending: dict[str, PendingOutage] = {}
        self._latest: dict[OutageKind, str] = {}
        self._unsaved: set[str] = set()
        self._due: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._recording = asyncio.Lock()

    @property
    def pending(self) -> Sequence[PendingOutage]:
        """What is not in the log yet, oldest first."""
        return tuple(self._pending.values())

    async def load(self) -> None:
        """Take up what an earlier run left behind; before anything is noted.

        Raises:
            StoreUnavailable: the disk does not let it read.
        """
        now = self._clock.now()
        for outage in await self._rows.load():
            self._pending[outage.id] = outage
            if outage.ended_at is None:
                # whether it goes on will be seen soon; then it is the same one
                self._latest[outage.kind] = outage.id
                self._put(replace(outage, ended_at=now))
            else:
                # it may be in the log already, and must not change any more
                self._due[outage.id] = self._clock.monotonic()
        self._changed.set()

    def begin(self, kind: OutageKind, cause: str) -> None:
        """Something is away; told again while it is, only the cause may be new."""
        now, latest = self._clock.now(), self._latest.get(kind)
        if latest is None:
            self._put(PendingOutage(new_id(), kind, now, cause=cause))
            return
        outage = self._pending[latest]
        if outage.ended_at is not None:
            self._put(replace(outage, ended_at=None, times=outage.times + 1, cause=cause))

    def end(self, kind: OutageKind, affected: str) -> None:
        """It is back."""
        latest = self._latest.get(kind)
        if latest is not None and self._pending[latest].ended_at is None:
            self._put(replace(self._pending[latest], ended_at=self._clock.now(), affected=affected))

    def note(self, kind: OutageKind, began_at: datetime, cause: str, affected: str) -> None:
        """Something happened that is over already."""
        now, latest = self._clock.now(), self._latest.get(kind)
        if latest is None:
            self._put(PendingOutage(new_id(), kind, began_at, now, cause=cause, affected=affected))
        else:
            outage = self._pending[latest]
            self._put(replace(outage, ended_at=now, times=outage.times + 1, cause=cause, affected=affected))

    def began(self, kind: OutageKind) -> datetime | None:
        """When the outage of this kind began that goes on, or has only just ended."""
        latest = self._latest.get(kind)
        return self._pending[latest].began_at if latest is not None else None

    def figures(self) -> dict[str, Any]:
        """What health tells: what goes on, and what waits for an operator."""
        document = self._cache.get(GATEWAY.collection, self._gateway) or {}
        recorded = document.get("unacknowledged")
        waiting = {
            id_: {name: line[name] for name in _SHOWN}
            for id_, line in (recorded.items() if isinstance(recorded, dict) else ())
            if isinstance(line, dict)
        }
        for outage in self._pending.values():
            if outage.kind in TO_ACKNOWLEDGE:
                waiting[outage.id] = {name: getattr(outage, name) for name in _SHOWN}
        return {
            "open": {one.kind: one.began_at for one in self._pending.values() if one.ended_at is None},
            "unacknowledged": waiting,
            "unacknowledged_older": document.get("unacknowledged_older", 0),
        }

    def told(self) -> dict[str, Any]:
        """The ledger as a query tells it: what is recorded, the newest of it, and what is not yet."""
        document = self._cache.get(GATEWAY.collection, self._gateway) or {}
        return {
            "gateway": self._gateway,
            "pending": [asdict(outage) for outage in self._pending.values()],
            "unacknowledged_older": document.get("unacknowledged_older", 0),
            **{name: document.get(name, {}) for name in ("unacknowledged", "outages", "counts")},
        }

    async def run(self) -> None:
        """Keep and record outages, for ever."""
        while True:
            due = min(self._due.values(), default=None)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(due - self._clock.monotonic(), 0)):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self.save()
                await self._record_due()
            except StoreUnavailable as error:
                log.warning("outages_not_recorded", error=str(error), pending=len(self._pending), next_try_s=RETRY)
                await asyncio.sleep(RETRY)
                self._changed.set()

    async def stop(self) -> None:
        """Record nothing more in this run, so that the read side can have seen all; wait for what is under way."""
        await self._recording.acquire()

    async def save(self) -> None:
        """Keep what has changed.

        Raises:
            StoreUnavailable: the disk does not let it.
        """
        while self._unsaved:
            outage = self._pending[self._unsaved.pop()]
            try:
                await self._rows.keep(outage)
            except StoreUnavailable:
                self._unsaved.add(outage.id)
                raise

    def _put(self, outage: PendingOutage) -> None:
        # the words of others may be many, and the ledger has to fit into an answer
        outage = replace(outage, cause=outage.cause[:LONGEST_CAUSE])
        self._pending[outage.id] = outage
        self._latest[outage.kind] = outage.id
        self._unsaved.add(outage.id)
        if outage.ended_at is None:
            self._due.pop(outage.id, None)
        else:
            self._due[outage.id] = self._clock.monotonic() + self._settle
        self._changed.set()

    async def _record_due(self) -> None:
        now = self._clock.monotonic()
        for id_ in tuple(self._due):
            if self._due.get(id_, inf) > now:
                continue
            async with self._recording:
                await self._record(self._pending[id_])

    async def _record(self, outage: PendingOutage) -> None:
        id_ = outage.id
        if self._latest.get(outage.kind) == id_:
            # from here on it must not change: it may get into the log at any moment
            del self._latest[outage.kind]
        (answer,) = await self._handler.handle([self._request(outage)])
        if answer.outcome.retry_after_ms is not None:
            raise StoreUnavailable(f"the outage was not recorded: {answer.outcome.error}")
        if answer.outcome.error is not None:
            log.error("outage_refused", outage=id_, error=answer.outcome.error.message)
        await self._rows.remove(id_)
        del self._due[id_], self._pending[id_]
        log.info("outage_recorded", outage=id_, kind=outage.kind, times=outage.times, cause=outage.cause)

    def _request(self, outage: PendingOutage) -> Request:
        command = RecordOutage(
            outage=outage.id,
            kind=outage.kind,
            began_at=outage.began_at,
            ended_at=outage.ended_at or outage.began_at,
            times=outage.times,
            cause=outage.cause,
            affected=outage.affected,
        )
        return Request(
            key=event_id(self._gateway, self._gateway, outage.id, 0),
            command_id=outage.id,
            sender_gave_id=True,
            actor=self._gateway,
            device=self._gateway,
            name=command.name,
            role=Role.DEVICE,
            command=command,
            decider=GATEWAY,
            refusal=None,
            digest=blake2b(command.model_dump_json().encode(), digest_size=16).digest(),
            received_at=self._clock.now(),
            reply=_NOBODY,
        )
