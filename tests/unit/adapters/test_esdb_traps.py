"""What the client libraries do that would lose events, repeat them or hang, and that the adapter guards against.

1. A read that is cancelled ends as if it were complete; a subscription that is cancelled ends without a word.
2. Whatever makes a client connect anew ends all of its subscriptions, and all reads under way, without an error.
3. Clients with equal options share one TCP connection.
4. The keep-alive option of the URL does nothing: a connection that is dead stays silent.
5. Events from an iterator are gone when the client tries again by itself.
6. More calls at once than a connection carries are refused.
7. A call takes twice its time-out, or for ever without one.
8. The answer to an append has the last position only, and an append that was answered late may have happened.
9. Several filters are joined with a wrong precedence; reading from a position includes it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gateway.adapters import esdb_follower, eventstoredb
from gateway.adapters.esdb_appends import AppendCall
from gateway.adapters.esdb_connection import EsdbConnection
from gateway.adapters.esdb_follower import EsdbFollower
from gateway.adapters.esdb_options import EsdbOptions
from gateway.adapters.eventstoredb import EventStoreDBLog, open_eventstoredb
from gateway.errors import NoSuchPosition, SettingsError, StoreUnavailable, WrongExpectedRevision
from gateway.messages import NO_STREAM, NewEvent, RecordedEvent
from tests.support.eventstoredb.node import Role
from tests.support.eventstoredb.server import StandIn
from tests.support.eventstoredb_process import stand_in
from tests.support.new_events import new_event, new_events
from tests.support.tcp_proxy import TcpProxy


@dataclass
class Bench:
    server: StandIn
    log: EventStoreDBLog
    follower: EsdbFollower

    async def read(self, count: int, *, after: int = 0) -> list[RecordedEvent]:
        """The first events that a subscriber is given."""
        seen: list[RecordedEvent] = []
        async with asyncio.timeout(20), aclosing(self.log.subscribe(after=after)) as pages:
            async for page in pages:
                seen += page
                if len(seen) >= count:
                    return seen
        raise AssertionError

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(
    url: str | None = None, *, server: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(stand_in(**(server or {})))
        options = {"categories": ("device",), **options}
        log, follower = await stack.enter_async_context(open_eventstoredb(EsdbOptions(url or node.url, **options)))
        following = asyncio.create_task(follower.run())
        try:
            yield Bench(node, log, follower)
        finally:
            following.cancel()
            await asyncio.wait([following])


async def test_a_read_that_is_cancelled_never_looks_complete() -> None:
    async with running() as bench:
        for number in range(10):
            await bench.log.append("device-a", number * 100 - 1, new_events(100))
        for steps in range(1, 60, 3):
            reading = asyncio.create_task(bench.log.read_stream("device-a", limit=5_000))
            for _ in range(steps):
                await asyncio.sleep(0)
            reading.cancel()
            with suppress(asyncio.CancelledError):
                assert len(await reading) == 1_000


async def test_a_read_that_takes_too_long_fails_instead_of_being_short(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as bench:
        await bench.log.append("device-a", NO_STREAM, new_events(500))
        monkeypatch.setattr(EsdbConnection, "deadline", property(lambda _self: -0.499))
        with pytest.raises(StoreUnavailable):
            await bench.log.read_stream("device-a", limit=5_000)


async def test_the_follower_can_be_cancelled_at_any_moment() -> None:
    for steps in range(0, 40, 4):
        async with running():
            for _ in range(steps):
                await asyncio.sleep(0)


async def test_a_subscription_that_ends_without_an_error_goes_on_without_gap_or_repeat() -> None:
    async with running() as bench:
        await bench.until(lambda: bench.follower.connected)
        bench.server.faults.set("end_subscription_ok", count=3, after=2)
        events = [new_event() for _ in range(12)]
        reading = asyncio.create_task(bench.read(12))
        for number, event in enumerate(events):
            await bench.log.append("device-a", number - 1, [event])
        assert [event.id for event in await reading] == [event.id for event in events]


async def test_a_subscription_that_is_aborted_or_repeats_an_event_loses_and_doubles_none() -> None:
    async with running() as bench:
        await bench.until(lambda: bench.follower.connected)
        bench.server.faults.set("duplicate_event", count=2)
        bench.server.faults.set("abort_subscription", count=2, after=3, code="ABORTED", text="Consumer too slow")
        events = [new_event() for _ in range(12)]
        reading = asyncio.create_task(bench.read(12))
        for number, event in enumerate(events):
            await bench.log.append("device-a", number - 1, [event])
        assert [event.id for event in await reading] == [event.id for event in events]
        # and whoever comes later, and is given all of it at once
        assert [event.id for event in await bench.read(12)] == [event.id for event in events]


async def test_events_in_quick_succession_are_handed_over_together_but_the_first_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(esdb_follower, "TOGETHER", 2.0)
    async with running() as bench:
        await bench.until(lambda: bench.follower.connected)
        async with aclosing(bench.log.subscribe(after=0)) as pages:
            async with asyncio.timeout(1.5):
                first = asyncio.create_task(anext(pages))
                await bench.log.append("device-a", NO_STREAM, new_events(1))
                assert len(await first) == 1
            for number in range(5):
                await bench.log.append("device-b", number - 1, new_events(1))
            assert len(await anext(pages)) == 5


async def test_a_subscription_that_falls_silent_is_begun_anew() -> None:
    async with running(silence=0.3) as bench:
        await bench.until(lambda: bench.follower.connected)
        bench.server.faults.set("stall_subscription")
        await bench.log.append("device-a", NO_STREAM, new_events(3))
        last = (await bench.read(3))[-1]
        # whoever has all of them is woken by the follower only
        waiting = asyncio.create_task(bench.read(1, after=last.position))
        await bench.log.append("device-a", last.revision, new_events(1))
        assert [event.revision for event in await waiting] == [last.revision + 1]


async def test_an_append_that_makes_the_writer_connect_anew_does_not_end_the_subscription(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = 0
    open_subscription = EsdbConnection.open_subscription

    async def counted(*arguments: Any) -> Any:
        nonlocal begun
        begun += 1
        return await open_subscription(*arguments)

    monkeypatch.setattr(EsdbConnection, "open_subscription", counted)
    async with running() as bench:
        await bench.until(lambda: bench.follower.connected)
        for number in range(3):
            bench.server.faults.set("unavailable_before_commit", method="BatchAppend")
            await bench.log.append("device-a", number - 1, new_events(1))
            assert len(await bench.read(number + 1)) == number + 1
    assert begun == 1


async def test_writing_and_following_have_a_tcp_connection_each() -> None:
    async with (
        stand_in() as server,
        TcpProxy(server.port) as line,
        running(f"esdb://127.0.0.1:{line.port}?Tls=false") as bench,
    ):
        await bench.until(lambda: bench.follower.connected)
        await bench.log.append("device-a", NO_STREAM, new_events(1))
        assert line.connections == 2


async def test_a_read_under_way_when_the_client_connects_anew_never_looks_complete() -> None:
    async with running() as bench:
        for number in range(10):
            await bench.log.append("device-a", number * 100 - 1, new_events(100))
        for number in range(8):
            bench.server.faults.set("unavailable_before_commit", stream="device-b")
            reads = [asyncio.create_task(bench.log.read_stream("device-a", limit=5_000)) for _ in range(4)]
            await bench.log.append("device-b", number - 1, new_events(1))
            for read in reads:
                with suppress(StoreUnavailable):
                    assert len(await read) == 1_000


async def test_the_events_survive_that_the_client_tries_again_by_itself() -> None:
    async with running() as bench:
        bench.server.faults.set("unavailable_before_commit")
        await bench.log.append("device-a", NO_STREAM, new_events(2))
        assert len(await bench.log.read_stream("device-a")) == 2


async def test_an_append_without_events_is_refused() -> None:
    async with running() as bench:
        with pytest.raises(ValueError, match="at least one"):
            await bench.log.append("device-a", NO_STREAM, [])


async def test_there_are_never_more_calls_at_once_than_allowed() -> None:
    async with stand_in() as server:
        connection = EsdbConnection(EsdbOptions(server.url, ("device",), in_flight=3))
        under_way, most = 0, 0

        async def operation(_client: object) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

        await asyncio.gather(*(connection.call(operation) for _ in range(20)))
        await connection.close()
        assert most == 3


@pytest.mark.parametrize("kind", ["commit_then_hang", "delay_before_commit"])
async def test_a_call_ends_at_its_deadline_though_the_client_would_try_again(kind: str) -> None:
    details = {"seconds": 30.0} if kind.startswith("delay") else {}
    async with running(deadline=1.0) as bench:
        bench.server.faults.set(kind, count=5, **details)
        async with asyncio.timeout(1.9):
            with pytest.raises(StoreUnavailable):
                await bench.log.append("device-a", NO_STREAM, new_events(1))


@pytest.mark.parametrize("kind", ["commit_then_hang", "commit_then_unavailable", "commit_then_drop_connection"])
async def test_an_append_whose_answer_was_lost_is_found_by_the_same_call_again(kind: str) -> None:
    events = new_events(3)
    async with running(deadline=0.5) as bench:
        bench.server.faults.set(kind, count=4)
        with suppress(StoreUnavailable):
            await bench.log.append("device-a", NO_STREAM, events)
        bench.server.faults.clear()
        appended = await bench.log.append("device-a", NO_STREAM, events)
        stand = await bench.log.read_stream("device-a")
        assert [event.position for event in stand] == list(appended.positions)
        assert {event.recorded_at for event in stand} == {appended.recorded_at}
        assert len(stand) == 3


async def test_events_appended_together_are_not_read_again_where_they_are_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as bench:
        await bench.until(lambda: bench.follower.connected)
        await bench.log.append("device-a", NO_STREAM, new_events(1))
        assert len(await bench.log.read_stream("device-a")) == 1
        monkeypatch.setattr(bench.log, "read_stream", None)
        events = new_events(3)
        appended = await bench.log.append("device-a", 0, events)
        monkeypatch.undo()
        stand = await bench.log.read_stream("device-a", after=0)
        assert [event.id for event in stand] == [event.id for event in events]
        assert [event.position for event in stand] == list(appended.positions)
        assert {event.recorded_at for event in stand} == {appended.recorded_at}


async def test_events_appended_together_are_read_again_where_what_is_followed_does_not_show_them() -> None:
    async with running() as bench:
        await bench.until(lambda: bench.follower.connected)
        await bench.log.append("device-a", NO_STREAM, new_events(2))
        bench.server.faults.set("stall_subscription")
        appended = await bench.log.append("device-a", 1, new_events(3))
        stand = await bench.log.read_stream("device-a", after=1)
        assert [event.position for event in stand] == list(appended.positions)


async def test_a_repeated_append_is_answered_with_the_time_of_the_first() -> None:
    events = new_events(1)
    async with running() as bench:
        first = await bench.log.append("device-a", NO_STREAM, events)
        async with open_eventstoredb(EsdbOptions(bench.server.url, ("device",))) as (other, _):
            assert await other.append("device-a", NO_STREAM, events) == first


async def test_appends_share_a_call_of_which_a_slow_one_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = 0
    begin = AppendCall.__init__

    def counted(*arguments: Any) -> None:
        nonlocal begun
        begun += 1
        begin(*arguments)

    monkeypatch.setattr(AppendCall, "__init__", counted)
    async with running() as bench:
        bench.server.faults.set("delay_before_commit", stream="device-slow", seconds=1.5)
        slow = asyncio.create_task(bench.log.append("device-slow", NO_STREAM, new_events(1)))
        for number in range(20):
            await bench.log.append("device-a", number - 1, new_events(1))
        assert not slow.done()
        await slow
    assert begun == 1


async def test_appends_whose_call_ends_under_them_take_effect_once() -> None:
    async with running() as bench:
        for kind in ("unavailable_before_commit", "commit_then_unavailable"):
            bench.server.faults.set(kind, count=1)
            streams = [f"device-{kind}-{number}" for number in range(10)]
            await asyncio.gather(*(bench.log.append(stream, NO_STREAM, new_events(1)) for stream in streams))
            assert [len(await bench.log.read_stream(stream)) for stream in streams] == [1] * 10


async def test_an_append_that_is_given_up_leaves_the_others_of_its_call_alone() -> None:
    async with running() as bench:
        bench.server.faults.set("commit_then_hang", stream="device-slow")
        bench.server.faults.set("delay_before_commit", stream="device-a", seconds=0.2)
        given_up = asyncio.create_task(bench.log.append("device-slow", NO_STREAM, new_events(1)))
        other = asyncio.create_task(bench.log.append("device-a", NO_STREAM, new_events(1)))
        await bench.until(lambda: bool(bench.server.log.stream("device-slow")))
        given_up.cancel()
        await other
        assert len(await bench.log.read_stream("device-a")) == 1


async def test_a_dead_connection_is_noticed() -> None:
    async with stand_in() as server, TcpProxy(server.port) as line:
        url = f"esdb://127.0.0.1:{line.port}?Tls=false"
        async with running(url, keepalive=1.0, deadline=1.0) as bench:
            await bench.until(lambda: bench.follower.connected)
            # a question of HTTP/2's own that is under way would find it out, too: wait until nobody says anything
            await _quiet(line)
            line.black_hole()
            await bench.until(lambda: not bench.follower.connected)
            with pytest.raises(StoreUnavailable):
                await bench.log.append("device-a", NO_STREAM, new_events(1))
            line.heal()
            await bench.until(lambda: bench.follower.connected)
            async with asyncio.timeout(20):
                while True:
                    with suppress(StoreUnavailable):
                        await bench.log.append("device-a", NO_STREAM, new_events(1))
                        break


async def _quiet(line: TcpProxy) -> None:
    same, before = 0, line.counts
    while same < 40:
        await asyncio.sleep(0.005)
        same, before = (same + 1, before) if line.counts == before else (0, line.counts)


async def test_reading_and_following_take_only_the_streams_of_the_log() -> None:
    async with running(prefix="x.", categories=("device", "counter")) as bench:
        foreign = ("x.devices-c", "yx.device-d", "x_device-e", "x.device", "counter-f")
        async with open_eventstoredb(EsdbOptions(bench.server.url, ("any",))) as (raw, _):
            for stream in ("x.device-a", *foreign, "x.counter-b"):
                await raw.append(stream, NO_STREAM, new_events(1))
        assert [event.stream for event in await bench.log.read_all(after=0)] == ["device-a", "counter-b"]
        assert [event.stream for event in await bench.read(2)] == ["device-a", "counter-b"]


async def test_a_position_is_not_read_twice() -> None:
    async with running() as bench:
        appended = await bench.log.append("device-a", NO_STREAM, new_events(4))
        rest = await bench.log.read_all(after=appended.positions[1], limit=1)
        assert [event.position for event in rest] == [appended.positions[2]]


async def test_a_follower_that_comes_late_knows_the_head_and_reads_what_was_before() -> None:
    async with running() as bench:
        appended = await bench.log.append("device-a", NO_STREAM, new_events(3))
        async with open_eventstoredb(EsdbOptions(bench.server.url, ("device",))) as (log, follower):
            following = asyncio.create_task(follower.run())
            late = Bench(bench.server, log, follower)
            await late.until(lambda: log.newest == appended.positions[-1])
            assert len(await late.read(3)) == 3
            following.cancel()
            await asyncio.wait([following])


@pytest.mark.parametrize("change", [{"role": Role.FOLLOWER}, {"role": Role.STARTING}, {"read_only": True}])
async def test_a_node_that_does_not_serve_counts_as_away_until_it_does(change: dict[str, Any]) -> None:
    async with running(deadline=1.0) as bench:
        for name, value in change.items():
            setattr(bench.server.node, name, value)
        with pytest.raises(StoreUnavailable):
            await bench.log.append("device-a", NO_STREAM, new_events(1))
        bench.server.node.role, bench.server.node.read_only = Role.LEADER, False
        async with asyncio.timeout(20):
            while True:
                with suppress(StoreUnavailable):
                    await bench.log.append("device-a", NO_STREAM, new_events(1))
                    break


async def test_a_store_that_refuses_our_user_says_so() -> None:
    async with running(server={"user": "gateway", "password": "secret"}) as bench:
        with pytest.raises(StoreUnavailable):
            await bench.log.head()


async def test_what_can_never_be_appended_is_no_outage() -> None:
    async with running() as bench:
        large = NewEvent(new_event().id, "Large", b'"' + b"x" * 2_000_000 + b'"', b"{}")
        with pytest.raises(ValueError, match="refuses the request"):
            await bench.log.append("device-a", NO_STREAM, [large])
        with pytest.raises(ValueError, match="JSON object"):
            await bench.log.append("device-a", NO_STREAM, [NewEvent(large.id, "Bare", b"{}", b"")])


async def test_many_streams_need_not_be_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventstoredb, "_REMEMBERED_HEADS", 2)
    async with running() as bench:
        for number in range(6):
            for device in "abc":
                await bench.log.append(f"device-{device}", number - 1, new_events(1))
        with pytest.raises(WrongExpectedRevision):
            await bench.log.append("device-a", 3, new_events(1))


@pytest.mark.parametrize(
    "options", [{"url": "esdb://store:2113"}, {"url": "esdb://store:2113?Tls=false&Colour=red"}, {"url": "esdb://"}]
)
async def test_options_that_cannot_work_are_told_at_the_start(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="event_store"):
        async with open_eventstoredb(EsdbOptions(categories=("device",), **options)):
            pass


async def test_the_same_command_from_another_life_is_a_conflict_and_not_an_answer() -> None:
    events = new_events(2)
    late = [replace(event, metadata=b'{"v":1,"received_at":"earlier"}') for event in events]
    async with running() as bench:
        await bench.log.append("device-a", NO_STREAM, late)

        with pytest.raises(WrongExpectedRevision) as conflict:
            await bench.log.append("device-a", NO_STREAM, events)

        assert conflict.value.actual == 1
        assert [event.metadata for event in await bench.log.read_stream("device-a")] == [
            event.metadata for event in late
        ]


@pytest.mark.parametrize("generation", ["23", "24"])
async def test_a_position_that_was_never_told_is_no_outage(generation: str) -> None:
    async with running(server={"generation": generation}) as bench:
        appended = await bench.log.append("device-a", NO_STREAM, new_events(2))
        first, second = appended.positions

        with pytest.raises(NoSuchPosition):
            await bench.log.read_all(after=first + 1)
        assert [event.position for event in await bench.log.read_all(after=first)] == [second]


async def test_a_stream_is_read_in_pieces_that_a_slow_store_has_the_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as bench:
        await bench.log.append("device-a", NO_STREAM, new_events(300))
        read_piece = bench.log._read_piece

        async def slowly(stream: str, begin: int, size: int) -> Sequence[Any]:
            if size > 100:
                raise StoreUnavailable("no answer from the store within 5 s")
            return await read_piece(stream, begin, size)

        monkeypatch.setattr(bench.log, "_read_piece", slowly)
        for _ in range(3):
            found: Sequence[RecordedEvent] = ()
            while not found:
                with suppress(StoreUnavailable):
                    found = await bench.log.read_stream("device-a")
            assert [event.revision for event in found] == list(range(300))
        assert len(await bench.log.read_stream("device-a", after=9, limit=7)) == 7
