import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from gateway.batch import refused
from gateway.deadletter import MAX_TOPIC_KEPT
from gateway.errors import LinkLost, PublishRefused, StorageFull
from gateway.log_limits import PER_MINUTE
from gateway.messages import Answer, Request
from tests.support.delivery import ROOT, FakeDelivery, command
from tests.support.pipeline_bench import ACCEPTED, Bench, accept_all, never_reached, report


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_delivery_is_acknowledged_only_after_its_answer_is_with_the_broker(bench: Bench) -> None:
    bench.broker.confirms_at_once = False
    delivery = report()
    async with bench.running() as pipeline:
        pipeline.accept(delivery)
        while not bench.broker.published:
            await asyncio.sleep(0)
        assert delivery.acknowledged == 0
        assert pipeline.in_flight == 1
        bench.broker.published[0][2].set_result(None)
        await pipeline.drained()
    assert delivery.acknowledged == 1
    assert bench.broker.codes() == [201]


async def test_nothing_is_published_or_acknowledged_before_the_handler_has_settled_it(bench: Bench) -> None:
    durable = asyncio.Event()

    async def slow(requests: Sequence[Request]) -> list[Answer]:
        await durable.wait()
        return await accept_all(requests)

    delivery = report()
    async with bench.running(slow) as pipeline:
        pipeline.accept(delivery)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not bench.broker.published
        assert delivery.acknowledged == 0
        durable.set()
        await pipeline.drained()
    assert delivery.acknowledged == 1


async def test_an_answer_that_the_broker_did_not_confirm_leaves_the_delivery_for_redelivery(bench: Bench) -> None:
    bench.broker.confirms_at_once = False
    delivery = report()
    async with bench.running() as pipeline:
        pipeline.accept(delivery)
        while not bench.broker.published:
            await asyncio.sleep(0)
        bench.broker.published[0][2].set_exception(LinkLost("gone"))
        await pipeline.drained()
    assert delivery.acknowledged == 0
    assert bench.counters["answers_not_confirmed"] == 1


async def test_an_answer_that_the_broker_refuses_for_good_does_not_block_the_others(bench: Bench) -> None:
    bench.broker.confirms_at_once = False
    delivery = report()
    async with bench.running() as pipeline:
        pipeline.accept(delivery)
        while not bench.broker.published:
            await asyncio.sleep(0)
        bench.broker.published[0][2].set_exception(PublishRefused("not authorised"))
        await pipeline.drained()
    assert delivery.acknowledged == 1
    assert bench.counters["answers_refused_by_broker"] == 1


async def test_a_topic_that_names_nobody_ends_in_the_dead_letter_topic(bench: Bench) -> None:
    delivery = FakeDelivery(f"{ROOT}/cmd/p", b"hello")
    async with bench.running() as pipeline:
        pipeline.accept(delivery)
        await pipeline.drained()
    assert bench.broker.letters() == ["unreadable-topic"]
    assert bench.broker.codes() == []
    assert delivery.acknowledged == 1


@pytest.mark.parametrize(("payload", "reason"), [(b"?", "not-json"), (b"x" * 1_001, "too-large")])
async def test_what_cannot_be_parsed_is_both_answered_and_buried(bench: Bench, payload: bytes, reason: str) -> None:
    delivery = command("p", "p", "report", payload)

    async def refuse(requests: Sequence[Request]) -> list[Answer]:
        return [Answer(refused(request.refusal, request)) for request in requests if request.refusal]

    async with bench.running(refuse) as pipeline:
        pipeline.accept(delivery)
        await pipeline.drained()
    assert bench.broker.letters() == [reason]
    assert len(bench.broker.codes()) == 1
    assert delivery.acknowledged == 1


async def test_who_sends_too_fast_is_deferred_with_the_time_to_wait(bench: Bench) -> None:
    first, second = report(), report()
    async with bench.running(rate=4) as pipeline:
        pipeline.accept(first)
        pipeline.accept(second)
        await pipeline.drained()
    assert sorted(bench.broker.codes()) == [201, 429]
    [deferred] = [body for _, body, _ in bench.broker.published if body["code"] == 429]
    assert deferred["retry_after_ms"] == 250
    assert first.acknowledged == second.acknowledged == 1


async def test_what_is_sent_too_fast_is_not_judged_so_it_fills_neither_dead_letters_nor_the_log(bench: Bench) -> None:
    with capture_logs() as lines:
        async with bench.running(rate=4) as pipeline:
            pipeline.accept(report())
            pipeline.accept(command("p", "p", "report", b"?"))
            await pipeline.drained()
    assert sorted(bench.broker.codes()) == [201, 429]
    assert bench.broker.letters() == []
    assert [line for line in lines if line["event"] == "dead_letter"] == []


async def test_however_many_dead_letters_there_are_the_log_has_a_few_and_their_number(bench: Bench) -> None:
    with capture_logs() as lines:
        async with bench.running() as pipeline:
            for _ in range(50):
                pipeline.accept(FakeDelivery(f"{ROOT}/cmd/{'x' * 9_000}"))
            await pipeline.drained()
    told = [line for line in lines if line["event"] == "dead_letter"]
    assert len(told) == PER_MINUTE
    assert max(len(line["topic"]) for line in told) == MAX_TOPIC_KEPT
    assert bench.counters["dead_letters"] == len(bench.broker.letters()) == 50


async def test_on_a_full_disk_the_sender_is_told_to_send_again(bench: Bench) -> None:
    async def full(_requests: Sequence[Request]) -> list[Answer]:
        raise StorageFull("disk full")

    delivery = report()
    async with bench.running(full) as pipeline:
        pipeline.accept(delivery)
        await pipeline.drained()
    assert bench.broker.codes() == [503]
    assert bench.broker.published[0][1]["retry_after_ms"] > 0
    assert delivery.acknowledged == 1


async def test_what_comes_behind_a_command_that_is_turned_away_waits_until_the_broker_has_that(bench: Bench) -> None:
    async def full(requests: Sequence[Request]) -> list[Answer]:
        if requests[0].command_id == "first":
            raise StorageFull("disk full")
        return await accept_all(requests)

    async def turned_away(times: int) -> "asyncio.Future[None]":
        while len(bench.broker.published) < times:
            await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert bench.broker.codes() == [503] * times
        return bench.broker.published[-1][2]

    bench.broker.confirms_at_once = False
    deliveries = [report(command_id=command_id) for command_id in ("first", "second")]
    async with bench.running(full) as pipeline:
        pipeline.lost()
        pipeline.accept(deliveries[0])
        told = await turned_away(1)
        pipeline.accept(deliveries[1])
        told.set_exception(LinkLost("gone"))
        pipeline.connected()
        told = await turned_away(2)
        bench.broker.confirms_at_once = True
        told.set_result(None)
        await pipeline.drained()
    assert bench.broker.codes() == [503, 503, 201]
    assert [delivery.acknowledged for delivery in deliveries] == [1, 1]


async def test_a_fault_of_ours_costs_only_the_command_that_met_it(bench: Bench) -> None:
    async def faulty(requests: Sequence[Request]) -> list[Answer]:
        if any(request.command_id == "bad" for request in requests):
            raise RuntimeError("a bug")
        return await accept_all(requests)

    deliveries = [report(command_id=command_id) for command_id in ("first", "good", "bad", "fine")]
    async with bench.running(faulty) as pipeline:
        for delivery in deliveries:
            pipeline.accept(delivery)
        await pipeline.drained()
    answers = {body["command_id"]: body["code"] for topic, body, _ in bench.broker.published if "/ack/" in topic}
    assert answers == {"first": 201, "good": 201, "bad": 500, "fine": 201}
    assert bench.broker.letters() == ["gateway-fault"]
    assert all(delivery.acknowledged == 1 for delivery in deliveries)


async def test_an_answer_waits_for_the_read_cache_where_the_sender_asks_for_it(bench: Bench) -> None:
    projected = asyncio.Event()

    async def reached(position: int, _timeout: float) -> None:
        assert position == ACCEPTED.position
        await projected.wait()

    async with bench.running(reached=reached) as pipeline:
        pipeline.accept(report(wait_for="projected"))
        pipeline.accept(report(command_id="other"))
        while not bench.broker.published:
            await asyncio.sleep(0)
        assert [body["command_id"] for _, body, _ in bench.broker.published] == ["other"]
        projected.set()
        await pipeline.drained()
    assert bench.broker.codes() == [201, 201]


async def test_a_read_cache_that_does_not_get_there_in_time_is_a_deferral(bench: Bench) -> None:
    async with bench.running(reached=never_reached) as pipeline:
        pipeline.accept(report(wait_for="projected"))
        await pipeline.drained()
    assert bench.broker.codes() == [408]


async def test_after_stop_deliveries_are_left_to_the_broker(bench: Bench) -> None:
    delivery = report()
    async with bench.running() as pipeline:
        pipeline.stop()
        pipeline.accept(delivery)
        await pipeline.drained()
    assert delivery.acknowledged == 0
    assert not bench.broker.published
