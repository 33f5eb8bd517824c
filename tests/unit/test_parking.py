"""What becomes of commands while the store is away, and after."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import LinkLost, StorageFull, StoreUnavailable
from gateway.messages import Answer, MessageProperties, Parked, Request
from gateway.parking import ParkingLimits
from tests.support.delivery import FakeDelivery, command
from tests.support.memory_inbox import MemoryInbox
from tests.support.pipeline_bench import ACCEPTED, NOW, Bench


def report(command_id: str | None, device: str = "p", actor: str | None = None, **others: Any) -> FakeDelivery:
    body = {"data": {"properties": {"rpm": 1}}} | ({"command_id": command_id} if command_id else {})
    properties = others.pop("properties", MessageProperties())
    return command(actor or device, device, "report", body | others, properties=properties)


class Site(Bench):
    """A store that is away until :meth:`store_is_back`; remembers what took effect, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.patience = 0.04
        self.store.away = True
        self.error: Exception = StoreUnavailable("away")
        self.refusal: Exception | None = None
        self.asked = 0
        self.done: list[tuple[str, str]] = []

    async def handle(self, requests: Sequence[Request]) -> list[Answer]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.store.away and any(request.decider is not None for request in requests):
            raise self.error
        if self.refusal is not None:
            raise self.refusal
        self.done += [(request.device, request.command_id) for request in requests]
        return [Answer(ACCEPTED) for _ in requests]

    def store_is_back(self) -> None:
        self.store.away = False

    def codes_of(self, command_id: str) -> list[int]:
        return [body["code"] for _, body, _ in self.broker.published if body.get("command_id") == command_id]

    async def until_parked(self, count: int) -> None:
        while self.parking.count != count or self.pipeline.in_flight:
            await asyncio.sleep(0)

    async def until_empty(self) -> None:
        while self.inbox.commands or self.pipeline.in_flight:
            await asyncio.sleep(0)


@pytest.fixture
def site() -> Site:
    return Site()


async def test_a_command_is_kept_and_deferred_and_takes_effect_when_the_store_is_back(site: Site) -> None:
    delivery = report("c1")
    async with site.running(site.handle) as pipeline:
        pipeline.accept(delivery)
        await site.until_parked(1)
        assert (site.codes_of("c1"), delivery.acknowledged) == ([202], 1)
        assert site.parking.reason == "away"
        site.store_is_back()
        await site.until_empty()
    assert site.codes_of("c1") == [202, 201]
    assert site.done == [("p", "c1")]
    assert site.parking.since is None


async def test_a_command_that_hangs_in_the_store_is_cut_off_after_its_patience(site: Site) -> None:
    async def hangs(_requests: Sequence[Request]) -> list[Answer]:
        await asyncio.Event().wait()
        raise AssertionError

    async with site.running(hangs) as pipeline:
        pipeline.accept(report("c1"))
        await site.until_parked(1)
    assert site.codes_of("c1") == [202]


async def test_a_history_that_takes_long_to_read_holds_up_its_own_device_only(site: Site) -> None:
    read, asked = asyncio.Event(), 0

    async def handle(requests: Sequence[Request]) -> list[Answer]:
        nonlocal asked
        if requests[0].device == "p":
            asked += 1
            await read.wait()
        return [Answer(ACCEPTED) for _ in requests]

    site.is_reading = True
    async with site.running(handle) as pipeline:
        pipeline.accept(report("c1"))
        # cut off, and at once taken out of the inbox, where there is time
        while asked < 2:
            await asyncio.sleep(0)
        assert (site.codes_of("c1"), site.parking.since) == ([202], None)
        pipeline.accept(report("c2", "q"))
        while not site.codes_of("c2"):
            await asyncio.sleep(0)
        assert site.codes_of("c2") == [201]
        read.set()
        await site.until_empty()
    assert site.codes_of("c1") == [202, 201]


async def test_once_the_store_is_known_to_be_away_commands_are_parked_without_asking_it(site: Site) -> None:
    async with site.running(site.handle) as pipeline:
        pipeline.accept(report("c1"))
        await site.until_parked(1)
        asked = site.asked
        for number in range(20):
            pipeline.accept(report("c1", f"device-{number}"))
        await site.until_parked(21)
        assert site.asked == asked
        site.store_is_back()
        await site.until_empty()


async def test_parked_commands_go_ahead_of_newer_ones_of_their_device_in_the_order_of_arrival(site: Site) -> None:
    async with site.running(site.handle) as pipeline:
        for number in range(25):
            pipeline.accept(report(f"c{number}"))
        await site.until_parked(25)
        site.store_is_back()
        for number in range(25, 60):
            pipeline.accept(report(f"c{number}"))
            await asyncio.sleep(0)
        await site.until_empty()
    assert site.done == [("p", f"c{number}") for number in range(60)]


async def test_what_an_earlier_run_parked_is_settled_after_a_restart(site: Site) -> None:
    async with site.running(site.handle) as pipeline:
        for device in ("q", "p"):
            for number in range(3):
                pipeline.accept(report(f"c{number}", device))
        await site.until_parked(6)
    site.store_is_back()
    async with site.running(site.handle) as pipeline:
        pipeline.accept(report("newer"))
        await site.until_empty()
    assert site.done == [("q", "c0"), ("q", "c1"), ("q", "c2"), ("p", "c0"), ("p", "c1"), ("p", "c2"), ("p", "newer")]


async def test_a_command_without_an_id_keeps_the_one_that_the_gateway_made(site: Site) -> None:
    async with site.running(site.handle) as pipeline:
        pipeline.accept(report(None))
        await site.until_parked(1)
        [(_, deferred, _)] = site.broker.published
    site.store_is_back()
    async with site.running(site.handle):
        await site.until_empty()
    assert site.done == [("p", deferred["command_id"])]
    assert site.broker.published[-1][1]["dedupe"] == "none"


async def test_it_comes_out_as_the_broker_delivered_it(site: Site) -> None:
    properties = MessageProperties("edge/gw1/ack/p/me", b"\xff", "application/json", 60, (("correlation_id", "x"),))
    seen: list[Request] = []

    async def note(requests: Sequence[Request]) -> list[Answer]:
        seen.extend(requests)
        return await site.handle(requests)

    async with site.running(note) as pipeline:
        pipeline.accept(report("c1", properties=properties))
        await site.until_parked(1)
        before = seen[0]
        site.store_is_back()
        await site.until_empty()
    assert seen[-1] == before
    assert [topic for topic, _, _ in site.broker.published] == ["edge/gw1/ack/p/me"] * 2


async def test_of_a_payload_that_is_too_large_only_so_much_is_parked_that_it_is_refused_again(site: Site) -> None:
    seen: list[object] = []

    async def note(requests: Sequence[Request]) -> list[Answer]:
        seen.extend(request.refusal.type for request in requests if request.refusal)
        return await site.handle(requests)

    async with site.running(note) as pipeline:
        pipeline.accept(report("c1"))
        await site.until_parked(1)
        pipeline.accept(command("p", "p", "report", b" " * 100_000))
        await site.until_parked(2)
        assert [len(parked.payload) for parked in site.inbox.commands.values()][1] == 1_001
        site.store_is_back()
        await site.until_empty()
    assert seen == ["too-large"]
    assert site.broker.letters() == ["too-large"]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (ParkingLimits(total=100, per_actor=2), {"p": [202, 202, 503, 503], "q": [202, 202, 503, 503]}),
        (ParkingLimits(total=4, per_actor=3), {"p": [202, 202, 202, 503], "q": [202, 503, 503, 503]}),
        (ParkingLimits(total=0, per_actor=3), {"p": [503] * 4, "q": [503] * 4}),
    ],
)
async def test_beyond_the_limits_the_sender_is_told_to_send_again(
    site: Site, limits: ParkingLimits, expected: dict[str, list[int]]
) -> None:
    site.limits = limits
    found: dict[str, list[int]] = {"p": [], "q": []}
    async with site.running(site.handle) as pipeline:
        for actor, codes in found.items():
            for number in range(4):
                pipeline.accept(report(f"c{number}", actor))
                await pipeline.drained()
                codes.append(site.broker.published[-1][1]["code"])
    assert found == expected


async def test_devices_that_park_at_the_same_time_share_the_room(site: Site) -> None:
    class SlowInbox(MemoryInbox):
        async def park(self, commands: Sequence[Parked]) -> Sequence[int]:
            for _ in range(5):
                await asyncio.sleep(0)
            return await super().park(commands)

    site.inbox, site.limits = SlowInbox(), ParkingLimits(total=2, per_actor=2)
    devices = ("p", "q", "r")
    async with site.running(site.handle) as pipeline:
        for device in devices:
            pipeline.accept(report(f"c-{device}", device))
        await pipeline.drained()
        assert site.parking.count == len(site.inbox.commands) == 2
    assert sorted(site.codes_of(f"c-{device}") for device in devices) == [[202], [202], [503]]


async def test_room_is_free_again_for_an_actor_whose_commands_are_settled(site: Site) -> None:
    site.limits = ParkingLimits(total=1, per_actor=1)
    async with site.running(site.handle) as pipeline:
        for number in range(3):
            site.store.away = True
            pipeline.accept(report(f"c{number}"))
            await site.until_parked(1)
            site.store_is_back()
            await site.until_empty()
    assert [site.codes_of(f"c{number}") for number in range(3)] == [[202, 201]] * 3


async def test_a_copy_of_a_command_that_waits_is_not_kept_twice(site: Site) -> None:
    async with site.running(site.handle) as pipeline:
        for _copy in range(3):
            pipeline.accept(report("c1"))
            await site.until_parked(1)
        assert [body["duplicate"] for _, body, _ in site.broker.published] == [False, True, True]
        site.store_is_back()
        await site.until_empty()
    assert site.codes_of("c1") == [202, 202, 202, 201]
    assert site.done == [("p", "c1")]


async def test_the_same_id_with_other_content_or_another_way_back_is_kept_as_well(site: Site) -> None:
    other_way = MessageProperties(response_topic="edge/gw1/ack/p/me")
    async with site.running(site.handle) as pipeline:
        for delivery in (report("c1"), report("c1", expected_revision=3), report("c1", properties=other_way)):
            pipeline.accept(delivery)
        await site.until_parked(3)


async def test_what_the_intake_refuses_needs_no_store_unless_something_older_waits(site: Site) -> None:
    stranger = report("c1", actor="stranger")
    async with site.running(site.handle) as pipeline:
        pipeline.accept(stranger)
        await pipeline.drained()
        assert site.done == [("p", "c1")]
        pipeline.accept(report("c2"))
        await site.until_parked(1)
        pipeline.accept(report("c3", actor="stranger"))
        await site.until_parked(2)
        site.store_is_back()
        await site.until_empty()
    assert [command_id for _, command_id in site.done] == ["c1", "c2", "c3"]


async def test_a_retained_command_stays_refused_when_it_has_been_parked(site: Site) -> None:
    refusals: list[object] = []

    async def note(requests: Sequence[Request]) -> list[Answer]:
        refusals.extend(request.refusal for request in requests if request.command_id == "old")
        return await site.handle(requests)

    async with site.running(note) as pipeline:
        pipeline.accept(report("c1"))
        await site.until_parked(1)
        retained = report("old")
        retained.retain = True
        pipeline.accept(retained)
        await site.until_parked(2)
        site.store_is_back()
        await site.until_empty()
    assert [getattr(refusal, "type", None) for refusal in refusals] == ["retained"]


async def test_nobody_waits_for_a_dry_run(site: Site) -> None:
    async with site.running(site.handle) as pipeline:
        pipeline.accept(report("c1", dry_run=True))
        await pipeline.drained()
    assert site.codes_of("c1") == [503]
    assert not site.inbox.commands


@pytest.mark.parametrize("error", [StorageFull("disk full"), StoreUnavailable("disk broken")])
async def test_a_command_that_cannot_be_kept_is_to_be_sent_again(
    site: Site, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cannot(_commands: Sequence[Parked]) -> Sequence[int]:
        raise error

    monkeypatch.setattr(site.inbox, "park", cannot)
    async with site.running(site.handle) as pipeline:
        pipeline.accept(report("c1"))
        await pipeline.drained()
    assert site.codes_of("c1") == [503]
    assert site.broker.published[0][1]["error"]["message"] == str(error)


async def test_a_final_answer_that_did_not_reach_the_broker_is_given_on_the_next_connection(site: Site) -> None:
    async with site.running(site.handle) as pipeline:
        pipeline.accept(report("c1"))
        await site.until_parked(1)
        site.broker.confirms_at_once = False
        site.store_is_back()
        while site.codes_of("c1") != [202, 201]:
            await asyncio.sleep(0)
        pipeline.lost()
        site.broker.published[-1][2].set_exception(LinkLost("gone"))
        await site.until_parked(1)
        assert site.inbox.commands
        site.broker.confirms_at_once = True
        pipeline.connected()
        await site.until_empty()
    assert site.codes_of("c1") == [202, 201, 201]


async def test_without_a_broker_nothing_is_taken_out(site: Site) -> None:
    async with site.running(site.handle) as pipeline:
        pipeline.accept(report("c1"))
        await site.until_parked(1)
        pipeline.lost()
        site.store_is_back()
        while site.parking.away:
            await asyncio.sleep(0)
        assert (site.done, site.parking.attempts) == ([], 0)
        pipeline.connected()
        await site.until_empty()
        assert site.parking.attempts == 1


async def test_a_store_that_answers_but_cannot_write_keeps_everything_parked(site: Site) -> None:
    async with site.running(site.handle) as pipeline:
        for number in range(3):
            pipeline.accept(report(f"c{number}"))
        await site.until_parked(3)
        asked = site.asked
        site.refusal = StorageFull("read-only")
        site.store_is_back()
        while site.asked < asked + 3:
            await asyncio.sleep(0)
        assert (site.parking.count, site.parking.attempts >= 3) == (3, True)
        site.refusal = None
        await site.until_empty()
    assert [command_id for _, command_id in site.done] == ["c0", "c1", "c2"]


async def test_a_full_disk_is_told_once_and_for_as_long_as_nothing_is_written(site: Site) -> None:
    written = replace(ACCEPTED, persisted_at=NOW)
    answers = iter([None, Answer(written, duplicate=True), Answer(ACCEPTED), None, Answer(written), None])
    away: list[bool] = []

    async def handle(_requests: Sequence[Request]) -> list[Answer]:
        answer = next(answers)
        if answer is None:
            raise StorageFull("disk full")
        return [answer]

    with capture_logs() as lines:
        async with site.running(handle) as pipeline:
            for _ in range(6):
                pipeline.accept(report("c1"))
                await pipeline.drained()
                away.append(site.parking.since is not None)
    assert away == [True, True, True, True, False, True]
    told = [(line["event"], line.get("reason")) for line in lines if line["event"].startswith("event_store")]
    assert told == [("event_store_away", "disk full"), ("event_store_back", None), ("event_store_away", "disk full")]
    assert site.broker.codes() == [503, 201, 201, 503, 201, 503], "what needs no room is answered all the while"


async def test_a_clock_that_is_set_does_not_change_how_long_the_store_was_away(site: Site) -> None:
    with capture_logs() as lines:
        async with site.running(site.handle) as pipeline:
            pipeline.accept(report("c1"))
            await site.until_parked(1)
            site.clock.advance(timedelta(seconds=7))
            site.clock.jump(timedelta(hours=-3))
            site.store_is_back()
            await site.until_empty()
    [away] = [line["away_s"] for line in lines if line["event"] == "event_store_back"]
    assert away == 7


async def test_when_the_store_serves_one_device_the_others_go_on(site: Site) -> None:
    asked, served = asyncio.Event(), asyncio.Event()

    async def handle(requests: Sequence[Request]) -> list[Answer]:
        if requests[0].device == "q":
            asked.set()
            await served.wait()
        return [Answer(ACCEPTED) for _ in requests]

    site.patience = 10.0
    # the probe has no answer meanwhile, and asks no more once something was served
    async with site.running(handle) as pipeline:
        pipeline.accept(report("c2", "q"))
        await asked.wait()
        site.parking.lost("a call for another device failed")
        pipeline.accept(report("c1"))
        while not site.parking.count:
            await asyncio.sleep(0)
        served.set()
        async with asyncio.timeout(5):
            await site.until_empty()
    assert (site.codes_of("c1"), site.codes_of("c2")) == ([202, 201], [201])


async def test_a_parked_command_that_meets_a_fault_of_ours_is_answered_and_buried(site: Site) -> None:
    async def faulty(requests: Sequence[Request]) -> list[Answer]:
        if not site.store.away and any(request.command_id == "c1" for request in requests):
            raise RuntimeError("a bug")
        return await site.handle(requests)

    async with site.running(faulty) as pipeline:
        for number in range(3):
            pipeline.accept(report(f"c{number}"))
        await site.until_parked(3)
        site.store_is_back()
        await site.until_empty()
    assert [site.codes_of(f"c{number}") for number in range(3)] == [[202, 201], [202, 500], [202, 201]]
    assert site.broker.letters() == ["gateway-fault"]


async def test_a_copy_of_a_command_that_was_told_to_come_again_is_not_taken_for_one_that_waits(site: Site) -> None:
    async def faulty(requests: Sequence[Request]) -> list[Answer]:
        if not site.store.away:
            raise RuntimeError("a bug")
        return await site.handle(requests)

    class SlowInbox(MemoryInbox):
        removes = asyncio.Event()

        async def remove(self, arrivals: Sequence[int]) -> None:
            await self.removes.wait()
            await super().remove(arrivals)

    site.inbox = SlowInbox()
    async with site.running(faulty) as pipeline:
        pipeline.accept(report("c1"))
        await site.until_parked(1)
        site.store_is_back()
        while site.codes_of("c1") != [202, 500]:
            await asyncio.sleep(0)
        site.store.away = True
        site.parking.lost("away again")
        pipeline.accept(report("c1"))
        await pipeline.drained()
        site.store.away = False
        SlowInbox.removes.set()
        await site.until_empty()
    assert site.codes_of("c1") == [202, 500, 503]


async def test_after_a_stop_parked_commands_wait_for_the_next_start(site: Site) -> None:
    async with site.running(site.handle) as pipeline:
        pipeline.accept(report("c1"))
        await site.until_parked(1)
        pipeline.stop()
        site.store_is_back()
        while site.parking.away:
            await asyncio.sleep(0)
        assert site.done == []
    assert len(site.inbox.commands) == 1


async def test_a_parked_entry_goes_back_to_its_place(site: Site) -> None:
    async with site.running(site.handle) as pipeline:
        for number in range(3):
            pipeline.accept(report(f"c{number}"))
        await site.until_parked(3)
        entries = await site.inbox.waiting()
        for entry in entries[:2]:
            site.parking.settle(entry)
        for entry in reversed(entries[:2]):
            site.parking.unsettle(entry)
        parked = await site.parking.next_of("p", 10)
        assert [one.entry for one in parked] == list(entries)
