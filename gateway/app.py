"""The composition root: builds every part from the settings, starts them in order, and drains them in order.

State directory, database, read cache, projector, pipeline, link; at the end the other way round: no new deliveries,
finish what was taken, let the read side see it, take leave of the broker, flush, close.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final

import structlog

from gateway import __version__
from gateway.access import Access, OperatorRule
from gateway.adapters.clock import SystemClock
from gateway.adapters.heap import keep
from gateway.adapters.mqtt import Link, LinkEvents
from gateway.adapters.sqlite import DATABASE_FILE, Database, open_database
from gateway.adapters.sqlite_identity import SqliteCursors, SqliteIdentity
from gateway.adapters.sqlite_outages import SqlitePendingOutages
from gateway.adapters.sqlite_snapshots import SqliteSnapshots
from gateway.adapters.state_dir import claim_state_dir, last_sign_of_life, show_life
from gateway.aggregates import Aggregates
from gateway.broker import link_options
from gateway.broker_drops import DROPPED, BrokerDrops
from gateway.broker_session import BrokerSession
from gateway.codec import EventCodec
from gateway.custom_projection import CustomProjection
from gateway.domain.catalogue import Catalogue, stream_of
from gateway.domain.outages import GATEWAY
from gateway.errors import StoreUnavailable, TimedOut
from gateway.feed import Feed
from gateway.figures import Figures
from gateway.found import Found, find
from gateway.handler import Handler
from gateway.health import Health
from gateway.heartbeats import Heartbeats
from gateway.homeassistant import Discovery
from gateway.intake import Intake
from gateway.latency import Latencies, Trace, unobserved
from gateway.log import set_level
from gateway.monitoring import monitoring
from gateway.outage_watch import OutageWatch
from gateway.outages import OutageLedger
from gateway.parking import ParkingLimits
from gateway.pipeline import Pipeline, PipelineParts
from gateway.ports import Supervisor
from gateway.projection import Projection
from gateway.projector import Projector
from gateway.pruning import prune_daily
from gateway.pulses import Outside, of_feed, of_lanes, of_link, of_parked, of_projector
from gateway.queries.desk import QueryDesk, ReadSide
from gateway.queries.documents import DocumentQueries
from gateway.queries.feed import FeedQueries
from gateway.queries.history import HistoryQueries
from gateway.queries.table import Queries
from gateway.queries.trace import TraceQueries
from gateway.queries.turns import Turns
from gateway.rate import RateLimit
from gateway.reload import Reload
from gateway.retained import Retained
from gateway.schema import gateway_info
from gateway.settings import Settings, load_catalogue, load_projections
from gateway.settings_loader import Loaded
from gateway.signals import Signals
from gateway.storage import Storage, open_storage
from gateway.supervision import Supervision, interval, status_line
from gateway.topics import Topics
from gateway.tracing import open_tracing

log = structlog.get_logger()

DRAIN_PATIENCE: Final = 5.0
LEAVE_PATIENCE: Final = 2.0
"""Seconds that the two halves of the end may take; what is not done by then is done after the next start."""


async def run(settings: Settings, signals: Signals, supervisor: Supervisor, reread: Callable[[], Loaded]) -> None:
    """Run the gateway until it is asked to stop.

    Args:
        settings: to begin with.
        signals: what is asked of it.
        supervisor: who is told how it goes.
        reread: reads the settings again.

    Raises:
        SettingsError: the settings cannot be used.
        StateError: the state directory or the database cannot be used.
        StoreUnavailable: the disk does not let the database be opened.
    """
    catalogue, custom = load_catalogue(settings.domain), load_projections(settings.readmodel)
    last_alive = await asyncio.to_thread(last_sign_of_life, settings.gateway.state_dir)
    with claim_state_dir(settings.gateway.state_dir) as state_dir:
        async with (
            open_tracing(settings.tracing, settings.gateway.id, SystemClock()) as trace,
            open_database(state_dir / DATABASE_FILE) as database,
            open_storage(settings.event_store, database, catalogue) as storage,
            asyncio.TaskGroup() as group,
        ):
            found = await find(settings, database, storage, state_dir, last_alive)
            gateway = Gateway(settings, catalogue, custom, database, storage, found, group, trace)
            log.info("gateway_started", gateway=settings.gateway.id, version=__version__, state_dir=str(state_dir))
            await gateway.run(signals, supervisor, reread)
            log.info("gateway_stopped", gateway=settings.gateway.id)


class Gateway:
    """All parts, wired to one another."""

    def __init__(  # noqa: PLR0913, PLR0917 - the composition root is where everything meets
        self,
        settings: Settings,
        catalogue: Catalogue,
        custom: Sequence[CustomProjection],
        database: Database,
        storage: Storage,
        found: Found,
        group: asyncio.TaskGroup,
        trace: Trace,
    ) -> None:
        self._settings = settings
        self._group = group
        self._storage = storage
        self._trace = trace
        self._cache = cache = found.cache
        self._parking = found.parking
        self._clock = SystemClock()
        self._counters: Counter[str] = Counter()
        self._access = Access(_rules(settings))
        self._rates: list[RateLimit] = []
        cursors = SqliteCursors(database)
        self._found = found
        self._latencies = Latencies() if settings.metrics.listen else None
        store = storage.store
        topics = Topics(settings.root)
        codec = EventCodec(catalogue)
        aggregates = Aggregates(
            store,
            SqliteSnapshots(database),
            codec,
            capacity=settings.limits.cached_devices,
            snapshot_every=settings.event_store.snapshot_every,
        )
        projection = Projection(cache, catalogue, codec, custom=custom, at_hand=aggregates.at_hand)
        self._projector = Projector(store, projection, self._clock, keep)
        discovery = Discovery(topics, settings.gateway.id, settings.homeassistant.prefix)
        announced = settings.homeassistant.enabled
        filters = [topics.commands, topics.queries, *([discovery.birth_topic] if announced else [])]
        self._drops = BrokerDrops()
        wishes = [DROPPED] if settings.mqtt.watch_drops else []
        self._link = Link(link_options(settings.mqtt, found.client_id), filters, wishes=wishes)
        self._retained = Retained(
            self._link,
            projection,
            catalogue,
            topics,
            ready=self._projector.caught_up,
            announce=discovery if announced else None,
        )
        self._projector.listeners.append(self._retained.projected)
        self._feed = Feed(store, cursors, self._link, catalogue=catalogue, topics=topics, projected=self._projector.at)
        parts = self._pipeline_parts(catalogue, codec, topics, aggregates)
        self._pipeline = Pipeline(parts, group, self._counters)
        self._ledger = OutageLedger(
            SqlitePendingOutages(database),
            parts.handler,
            cache,
            self._clock,
            gateway=settings.gateway.id,
            settle=settings.outages.settle,
        )
        info = gateway_info(catalogue, settings.gateway.id)
        self._outages = OutageWatch(self._ledger, self._parking, self._clock, settings.outages.clock_tolerance)
        self._figures = Figures(
            settings.gateway.id,
            store,
            storage.figures,
            self._parking,
            self._projector,
            cache,
            self._feed,
            self._retained,
            self._pipeline,
            self._ledger,
            lambda: self._link.epoch,
            lambda: self._link.is_up,
            lambda: self._drops.count,
        )
        self._health = Health(
            self._link,
            topics,
            self._clock,
            self._counters,
            info=info,
            interval=settings.health.interval,
            probe=self._figures,
        )
        session = BrokerSession(
            known=found.had_session,
            announced=announced,
            group=group,
            cursors=cursors,
            topics=topics,
            discovery=discovery,
            pipeline=self._pipeline,
            queries=self._query_desk(catalogue, codec, topics, info),
            health=self._health,
            outages=self._outages,
            retained=self._retained,
            feed=self._feed,
            drops=self._drops,
        )
        self._link_events = LinkEvents(
            session.deliver, session.connected, session.lost, SqliteIdentity(database).next_epoch, self._health.will
        )

    async def run(self, signals: Signals, supervisor: Supervisor, reread: Callable[[], Loaded]) -> None:
        """Serve until asked to stop, then finish in order."""
        await self._outages.start(self._found.last_alive, crashed=self._found.crashed)
        flush_interval = self._settings.readmodel.flush_interval
        reload = Reload(self._settings, reread, self._apply, supervisor)
        work = {
            **self._monitoring(),
            "link": self._link.run(self._link_events),
            "projector": self._projector.run(),
            "retained": self._retained.run(),
            "feed": self._feed.run(),
            "feed cursor": self._feed.keep_saved(flush_interval),
            "read cache": self._cache.keep_flushed(flush_interval),
            "health": self._health.run(),
            "prune": prune_daily(
                self._storage.outcomes, self._clock, timedelta(days=self._settings.limits.refusal_days)
            ),
            "outages": self._ledger.run(),
            "clock watch": self._outages.watch_clock(),
            "signs of life": self._outages.show_life(partial(show_life, self._settings.gateway.state_dir)),
            "inbox": self._parking.forget_finished(),
            "store probe": self._pipeline.probe(),
            "rebuild": self._rebuild_on(signals.rebuild),
            "reload": reload.run(signals.reload),
            **self._storage.work,
        }
        tasks = {name: self._group.create_task(coroutine, name=name) for name, coroutine in work.items()}
        supervision = self._supervision(tasks, supervisor, reload)
        watch = self._group.create_task(supervision.run(), name="supervision")
        await signals.stop.wait()
        supervisor.stopping()
        # the end is quicker than a watchdog, and tasks may end in it
        watch.cancel()
        await self._finish()
        for task in tasks.values():
            task.cancel()
        await asyncio.wait(tasks.values())
        await self._save()

    def _monitoring(self) -> dict[str, Coroutine[Any, Any, None]]:
        if self._latencies is None:
            return {}
        endpoint = monitoring(self._settings.metrics.listen, self._counters, self._figures, self._latencies)
        return {"monitoring": endpoint.run()}

    def _supervision(
        self, tasks: "Mapping[str, asyncio.Task[None]]", supervisor: Supervisor, reload: Reload
    ) -> Supervision:
        settings, store, link, parking = self._settings, self._storage.store, self._link, self._parking
        outside = Outside(store, stream_of(GATEWAY, settings.gateway.id), self._health.tell)
        patience = settings.event_store.patience
        pulses = {
            "lanes": of_lanes(self._pipeline, parking, outside, patience),
            "parked commands": of_parked(self._pipeline, parking, link, outside, patience),
            "projector": of_projector(self._projector, store),
            "feed": of_feed(self._feed, self._projector, link, outside),
            "link": of_link(link, outside, settings.mqtt.backoff_max),
        }
        heartbeats = Heartbeats(tasks, pulses, self._clock.monotonic, interval(supervisor.watchdog) / 2)
        return Supervision(supervisor, heartbeats, partial(self._status, reload))

    def _status(self, reload: Reload) -> str:
        line = status_line(
            connected=self._link.is_up,
            lost_at=self._ledger.began("broker"),
            parking=self._parking,
            catching_up=not self._projector.caught_up.is_set(),
        )
        return f"{line}; settings not reloaded: {reload.refused}" if reload.refused else line

    def _apply(self, settings: Settings) -> None:
        """Put into effect what can change while all this runs: :data:`gateway.reload.RELOADABLE`."""
        limits = settings.limits
        set_level(settings.log.level)
        self._access.replace(_rules(settings))
        self._parking.limits = ParkingLimits(limits.parked, limits.parked_per_actor)
        self._health.interval = settings.health.interval
        for rate in self._rates:
            rate.rate, rate.burst = limits.commands_per_second, limits.burst

    async def _finish(self) -> None:
        """No new deliveries; what was taken is settled, acknowledged and projected; then leave the broker."""
        log.info("stopping", in_flight=self._pipeline.in_flight)
        self._pipeline.stop()
        with suppress(TimeoutError, TimedOut):
            async with asyncio.timeout(DRAIN_PATIENCE):
                await self._pipeline.drained()
                await self._ledger.stop()
            await self._projector.reached(self._storage.store.newest, LEAVE_PATIENCE)
        self._health.leave(self._link.epoch)
        await self._link.close(LEAVE_PATIENCE)

    async def _save(self) -> None:
        try:
            await self._cache.flush()
            await self._feed.save()
            await self._outages.save()
        except (OSError, StoreUnavailable) as error:
            # cache and feed can be made again from the log; of outages the end would be missed
            log.warning("not_saved_at_the_end", error=str(error))

    def _pipeline_parts(
        self, catalogue: Catalogue, codec: EventCodec, topics: Topics, aggregates: Aggregates
    ) -> PipelineParts:
        settings = self._settings
        encode = partial(codec.encode, gateway=settings.gateway.id)
        observe = self._latencies.observe if self._latencies else unobserved
        return PipelineParts(
            intake=Intake(topics, catalogue, self._access, settings.mqtt.max_payload, settings.gateway.id),
            rate=self._rate_limit(),
            handler=Handler(
                self._storage.store,
                self._storage.outcomes,
                aggregates,
                encode,
                self._clock,
                append_new=self._storage.append_new,
                before_append=self._feed.begin,
                observe=observe,
                late_until=self._clock.monotonic() + (self._storage.late if self._found.crashed else 0.0),
            ),
            parking=self._parking,
            publisher=self._link,
            clock=self._clock,
            reached=self._projector.reached,
            epoch=lambda: self._link.epoch,
            gateway=settings.gateway.id,
            deadletter_topic=topics.deadletter,
            patience=settings.event_store.patience,
            batch=settings.limits.batch,
            observe=observe,
            trace=self._trace,
        )

    def _rate_limit(self) -> RateLimit:
        limit = RateLimit(self._settings.limits.commands_per_second, self._settings.limits.burst)
        self._rates.append(limit)
        return limit

    def _query_desk(self, catalogue: Catalogue, codec: EventCodec, topics: Topics, info: dict[str, Any]) -> QueryDesk:
        settings, store, projector = self._settings, self._storage.store, self._projector
        turns = Turns()
        queries = Queries(
            DocumentQueries(self._cache, catalogue, GATEWAY.collection, turns),
            HistoryQueries(store, catalogue, codec, turns),
            TraceQueries(store, catalogue, self._storage.outcomes, turns),
            FeedQueries(store, catalogue, projector.at, turns),
            self._storage.outcomes,
            settings.gateway.id,
            self._ledger.told,
            info,
        )
        return QueryDesk(
            queries.table(),
            ReadSide(lambda: projector.position, lambda: not projector.caught_up.is_set(), projector.reached),
            self._link,
            self._group,
            topics=topics,
            access=self._access,
            rate=self._rate_limit(),
            clock=self._clock,
            counters=self._counters,
            max_payload=settings.mqtt.max_payload,
        )

    async def _rebuild_on(self, rebuild: asyncio.Event) -> None:
        while True:
            await rebuild.wait()
            rebuild.clear()
            self._projector.rebuild()


def _rules(settings: Settings) -> list[OperatorRule]:
    return [OperatorRule(rule.actors, rule.devices, rule.commands) for rule in settings.operators]
