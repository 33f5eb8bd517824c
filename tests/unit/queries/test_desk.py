import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from gateway.access import Access, OperatorRule
from gateway.errors import LinkLost, NoSuchPosition, NotFound, PublishRefused, StoreUnavailable, TimedOut
from gateway.log_limits import PER_MINUTE
from gateway.messages import NO_PROPERTIES, MessageProperties
from gateway.queries.answers import Result
from gateway.queries.desk import AT_ONCE, MOST, MOST_OF_ONE, Asker, QueryDesk, ReadSide, Table
from gateway.queries.parameters import Feed, Get, Parameters
from gateway.rate import RateLimit
from gateway.topics import Topics
from tests.support.delivery import ROOT, FakeDelivery
from tests.support.fixed_clock import FixedClock
from tests.support.recording_publisher import RecordingPublisher, fail

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def query(
    name: str = "echo", body: object = None, *, actor: str = "alice", properties: MessageProperties = NO_PROPERTIES
) -> FakeDelivery:
    payload = body if isinstance(body, bytes) else orjson.dumps({} if body is None else body)
    return FakeDelivery(f"{ROOT}/query/{actor}/{name}", payload, properties=properties)


class Bench:
    """A desk with queries that do what their name says."""

    def __init__(self, rate: float = 0.0, burst: int = 1) -> None:
        self.broker = RecordingPublisher()
        self.counters: Counter[str] = Counter()
        self.open = asyncio.Event()
        self.reached: Callable[[int, float], Awaitable[None]] = self._reached
        self._rate = RateLimit(rate, burst)
        self._answered = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[QueryDesk]:
        table: Table = {
            "echo": (Parameters, lambda _parameters, asker: Result({"hello": asker.actor}, {"cursor": "x"})),
            "get": (Get, self._get),
            "wait": (Parameters, self._wait),
            "feed": (Feed, self._wait),
            "away": (Parameters, self._away),
            "nowhere": (Parameters, self._nowhere),
            "break": (Parameters, lambda _parameters, _asker: Result(1 // 0)),
        }
        side = ReadSide(lambda: 41, lambda: True, self.reached)
        async with asyncio.TaskGroup() as group:
            yield QueryDesk(
                table,
                side,
                self.broker,
                group,
                topics=Topics(ROOT),
                access=Access([OperatorRule(("alice",))]),
                rate=self._rate,
                clock=FixedClock(NOW),
                counters=self.counters,
                max_payload=100,
            )

    async def ask(self, delivery: FakeDelivery) -> dict[str, Any]:
        async with self.running() as desk:
            desk.accept(delivery)
        await asyncio.sleep(0)
        assert delivery.acknowledged == 1
        return self.body()

    def letters(self) -> list[dict[str, Any]]:
        return [orjson.loads(payload) for payload in self.broker.payloads(f"{ROOT}/deadletter")]

    def body(self, index: int = -1) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.broker.published[index].payload)
        return found

    def codes(self) -> list[int]:
        return [self.body(index)["code"] for index in range(len(self.broker.published))]

    @staticmethod
    def _get(parameters: Get, asker: Asker) -> Result:
        asker.check(parameters.device)
        raise NotFound("there is none")

    async def _wait(self, _parameters: Parameters, _asker: Asker) -> Result:
        await self.open.wait()
        return Result("done")

    @staticmethod
    async def _away(_parameters: Parameters, _asker: Asker) -> Result:
        raise StoreUnavailable("the store is away")

    @staticmethod
    async def _nowhere(_parameters: Parameters, _asker: Asker) -> Result:
        raise NoSuchPosition("no event stands at position 7")

    @staticmethod
    async def _reached(_position: int, _patience: float) -> None:
        """At once."""


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_an_answer_says_of_when_it_is_and_where_it_goes_on(bench: Bench) -> None:
    properties = MessageProperties(correlation_data=b"7", response_topic=f"{ROOT}/answer/alice/mine")
    assert await bench.ask(query(properties=properties)) == {
        "query": "echo",
        "actor": "alice",
        "position": 41,
        "as_of": "2026-03-01T12:00:00Z",
        "stale": True,
        "result": {"hello": "alice"},
        "next": {"cursor": "x"},
        "status": "accepted",
        "code": 200,
    }
    [answer] = bench.broker.published
    assert (answer.topic, answer.retain, answer.properties.correlation_data) == (
        f"{ROOT}/answer/alice/mine",
        False,
        b"7",
    )
    assert answer.properties.user == (("status", "accepted"), ("code", "200"))


async def test_without_a_response_topic_the_answer_goes_to_the_askers_own(bench: Bench) -> None:
    await bench.ask(query())
    assert bench.broker.topics() == [f"{ROOT}/answer/alice/echo"]


@pytest.mark.parametrize(
    "topic",
    ["answer/bob/x", "answer/alice/", "answer/alice/+", "ack/alice/x", "cmd/a/b/c", f"answer/alice{'/a' * 40}"],
)
async def test_a_response_topic_elsewhere_is_refused_on_the_default_one(bench: Bench, topic: str) -> None:
    body = await bench.ask(query(properties=MessageProperties(response_topic=f"{ROOT}/{topic}")))
    assert (body["code"], body["error"]["type"]) == (403, "response-topic-not-permitted")
    assert bench.broker.topics() == [f"{ROOT}/answer/alice/echo"]


@pytest.mark.parametrize(
    ("delivery", "code", "type_"),
    [
        (query("nonsense"), 404, "unknown-query"),
        (query("get", {"device": "x"}), 404, "unknown-device"),
        (query("get", {"device": "x"}, actor="y"), 403, "not-permitted"),
        (query("get"), 422, "invalid-field"),
        (query("get", {"device": "a b"}), 422, "invalid-field"),
        (query("echo", {"limit": 1}), 422, "invalid-field"),
        (query("echo", [1]), 422, "invalid-field"),
        (query("echo", b"{"), 400, "not-json"),
        (query("echo", b" " * 101), 413, "too-large"),
        (query("echo", b"[" * 33 + b"]" * 33), 400, "too-deep"),
        (query("away"), 503, "store-unavailable"),
        (query("nowhere"), 422, "invalid-field"),
    ],
)
async def test_what_cannot_be_answered_is_refused_with_the_reason(
    bench: Bench, delivery: FakeDelivery, code: int, type_: str
) -> None:
    body = await bench.ask(delivery)
    assert (body["code"], body["error"]["type"]) == (code, type_)
    assert "result" not in body
    assert ("retry_after_ms" in body) == (code == 503)


async def test_an_empty_payload_is_a_query_without_parameters(bench: Bench) -> None:
    assert (await bench.ask(query("echo", b"")))["code"] == 200


async def test_a_fault_of_ours_is_answered_and_told_in_the_log(bench: Bench) -> None:
    with capture_logs() as logs:
        body = await bench.ask(query("break"))
    assert (body["code"], body["error"]["type"]) == (500, "gateway-fault")
    assert [line["event"] for line in logs] == ["query_fault", "dead_letter", "query_refused"]
    [letter] = bench.letters()
    assert (letter["reason"], letter["message"]) == (
        "gateway-fault",
        "ZeroDivisionError('integer division or modulo by zero')",
    )


@pytest.mark.parametrize(
    ("payload", "reason"), [(b"{", "not-json"), (b"[" * 33 + b"]" * 33, "too-deep"), (b" " * 101, "too-large")]
)
async def test_what_cannot_be_read_is_buried_beside_its_refusal(bench: Bench, payload: bytes, reason: str) -> None:
    await bench.ask(query("echo", payload))
    assert [(letter["reason"], letter["payload"]) for letter in bench.letters()] == [(reason, payload.decode())]
    assert bench.counters[f"dead_letters_{reason}"] == 1


async def test_what_is_refused_for_what_it_says_is_no_dead_letter(bench: Bench) -> None:
    await bench.ask(query("get", {"device": "a b"}))
    assert bench.letters() == []


async def test_a_topic_that_names_nobody_is_buried_and_only_then_does_the_broker_forget_it(bench: Bench) -> None:
    bench.broker.confirms = False
    delivery = FakeDelivery(f"{ROOT}/query/a b/get", b"{}")
    async with bench.running() as desk:
        desk.accept(delivery)
        [letter] = bench.letters()
        assert (letter["reason"], letter["topic"], letter["payload"]) == ("unreadable-topic", delivery.topic, "{}")
        await asyncio.sleep(0)
        assert delivery.acknowledged == 0
        bench.broker.published[0].future.set_result(None)
        await asyncio.sleep(0)
        assert delivery.acknowledged == 1


async def test_however_many_queries_cannot_be_read_the_log_has_a_few_and_they_are_counted(bench: Bench) -> None:
    with capture_logs() as logs:
        async with bench.running() as desk:
            for number in range(1_000):
                desk.accept(FakeDelivery(f"{ROOT}/query/a b/get-{number}"))
    assert [line["event"] for line in logs] == ["dead_letter"] * PER_MINUTE
    assert bench.counters == {"dead_letters": 1_000, "dead_letters_unreadable-topic": 1_000}
    assert len(bench.letters()) == 1_000


async def test_however_many_queries_are_refused_the_log_has_a_few(bench: Bench) -> None:
    with capture_logs() as logs:
        async with bench.running() as desk:
            for _ in range(MOST_OF_ONE):
                desk.accept(query("get", {"device": "x"}, actor="y"))
    assert [line["event"] for line in logs] == ["query_refused"] * PER_MINUTE
    assert (logs[0]["actor"], logs[0]["query"], logs[0]["code"], logs[0]["type"]) == ("y", "get", 403, "not-permitted")


async def test_every_answer_is_counted_by_query_and_code_and_names_that_are_no_querys_together(bench: Bench) -> None:
    for delivery in (
        query(),
        query(),
        query("wait", {"timeout_ms": 1}),
        query("away"),
        query("break"),
        query("made-up-1"),
        query("made-up-2"),
    ):
        await bench.ask(delivery)
    assert bench.counters == {
        "queries_echo_200": 2,
        "queries_wait_408": 1,
        "queries_away_503": 1,
        "queries_break_500": 1,
        "queries_unknown_404": 2,
        "dead_letters": 1,
        "dead_letters_gateway-fault": 1,
    }


@pytest.mark.parametrize(
    ("error", "acknowledged"), [(None, 1), (PublishRefused("the ACL"), 1), (LinkLost("the connection ended"), 0)]
)
async def test_what_is_turned_away_waits_at_the_broker_until_it_has_the_answer(
    error: Exception | None, acknowledged: int
) -> None:
    bench = Bench(rate=1.0, burst=0)
    bench.broker.confirms = False
    delivery = query()
    async with bench.running() as desk:
        desk.accept(delivery)
        await asyncio.sleep(0)
        assert (bench.codes(), delivery.acknowledged) == ([429], 0)
        answer = bench.broker.published[0].future
        if error is None:
            answer.set_result(None)
        else:
            fail(answer, error)
        await asyncio.sleep(0)
        assert delivery.acknowledged == acknowledged


async def test_what_takes_too_long_is_cut_off(bench: Bench) -> None:
    assert (await bench.ask(query("wait", {"timeout_ms": 1})))["code"] == 408


async def test_a_query_waits_for_the_read_cache(bench: Bench) -> None:
    asked = []

    async def late(position: int, patience: float) -> None:
        asked.append((position, patience))
        raise TimedOut("not yet")

    bench.reached = late
    assert (await bench.ask(query("echo", {"min_position": 50, "timeout_ms": 700})))["code"] == 408
    assert asked == [(50, 0.7)]


async def test_an_actor_that_asks_too_fast_is_told_to_wait() -> None:
    bench = Bench(rate=1.0, burst=1)
    async with bench.running() as desk:
        desk.accept(query())
        desk.accept(query())
        desk.accept(query(actor="bob"))
    assert sorted(bench.codes()) == [200, 200, 429]


async def test_what_waits_is_bounded_and_the_rest_is_refused(bench: Bench) -> None:
    async with bench.running() as desk:
        for number in range(MOST + 3):
            desk.accept(query("wait", actor=f"actor-{number}"))
        assert bench.codes() == [503] * 3
        bench.open.set()
    assert bench.codes().count(200) == MOST


async def test_an_answer_that_the_broker_does_not_have_yet_keeps_the_place_of_its_query(bench: Bench) -> None:
    bench.broker.confirms = False
    async with bench.running() as desk:
        for _ in range(MOST_OF_ONE):
            desk.accept(query())
        async with asyncio.timeout(5):
            while len(bench.broker.published) < MOST_OF_ONE:
                await asyncio.sleep(0)
        desk.accept(query())
        assert bench.codes() == [200] * MOST_OF_ONE + [503]
        for answer in bench.broker.published:
            answer.future.set_result(None)
        bench.broker.confirms = True
        await asyncio.sleep(0)
        desk.accept(query())
    assert bench.codes()[-1] == 200


async def test_one_actor_cannot_take_the_place_of_all_others(bench: Bench) -> None:
    async with bench.running() as desk:
        for _ in range(MOST_OF_ONE + 3):
            desk.accept(query("wait"))
        assert bench.codes() == [503] * 3
        desk.accept(query("wait", actor="bob"))
        assert bench.codes() == [503] * 3
        bench.open.set()
    assert bench.codes().count(200) == MOST_OF_ONE + 1


@pytest.mark.parametrize("patient", [query("feed", {"wait_ms": 9_000}), query("echo", {"min_position": 50})])
async def test_a_query_that_waits_for_something_to_happen_keeps_none_from_being_answered(
    bench: Bench, patient: FakeDelivery
) -> None:
    async def late(_position: int, _patience: float) -> None:
        await bench.open.wait()

    bench.reached = late
    async with bench.running() as desk:
        for _ in range(AT_ONCE):
            desk.accept(replace(patient))
        desk.accept(query("echo", actor="bob"))
        async with asyncio.timeout(5):
            while not bench.broker.published:
                await asyncio.sleep(0)
        assert bench.body()["result"] == {"hello": "bob"}
        bench.open.set()
    assert bench.codes() == [200] * (AT_ONCE + 1)


async def test_an_answer_that_does_not_reach_the_broker_is_no_fault(bench: Bench) -> None:
    bench.broker.is_up = False
    delivery = query()
    with capture_logs() as logs:
        async with bench.running() as desk:
            desk.accept(delivery)
        await asyncio.sleep(0)
    assert [line["event"] for line in logs] == ["query_not_answered"]
