"""Of the copies of a command only one takes effect, and all are told the same."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.domain import DECIDERS
from gateway.domain.decider import Command, Context, Event
from gateway.messages import (
    NO_STREAM,
    Answer,
    Outcome,
    RecordedEvent,
)
from tests.support.handler_bench import NOW, Bench, codes
from tests.support.memory_outcomes import MemoryOutcomes
from tests.support.memory_store import MemoryStore


@pytest.fixture(params=[False, True], ids=["looked up before", "told by the append"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(append_tells=request.param)


async def test_where_the_append_tells_what_is_known_nothing_new_is_looked_up() -> None:
    class Asked(MemoryOutcomes):
        times = 0

        async def find(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:
            self.times += 1
            return await super().find(stream, revision, keys)

    bench = Bench(append_tells=True)
    bench.outcomes = asked = Asked(bench.store)
    bench.restart()
    await bench.send("register", "c1", model="T")
    await bench.send("report", "c2", properties={"rpm": 1})
    assert asked.times == 0
    assert (await bench.send("report", "c2", properties={"rpm": 1})).duplicate
    assert asked.times == 1


async def test_a_copy_does_not_let_the_device_be_read_anew() -> None:
    class Read(MemoryStore):
        times = 0

        async def read_stream(
            self, stream: str, *, after: int = NO_STREAM, limit: int = 1_000
        ) -> Sequence[RecordedEvent]:
            self.times += 1
            return await super().read_stream(stream, after=after, limit=limit)

    store = Read()
    bench = Bench(store, append_tells=True)
    await bench.send("register", "c1", model="T")
    await bench.send("connect", "c2")
    before = store.times
    assert (await bench.send("connect", "c2")).duplicate
    assert store.times == before


async def test_a_decider_that_fails_on_a_copy_is_not_asked_for_the_answer() -> None:
    """Such a command must not be answered 500 on its second arrival."""
    bench = Bench(append_tells=True)
    await bench.send("register", "c1", model="T")
    request = bench.request("connect", "c2")
    assert codes(await bench.handler.handle([request])) == [200]
    broken = replace(request, decider=replace(DECIDERS[0], decide=_never_again))
    [copy] = await bench.handler.handle([broken])
    assert (copy.outcome.code, copy.duplicate) == (200, True)
    with pytest.raises(ZeroDivisionError):
        await bench.handler.handle([replace(broken, key=UUID(int=1))])


def _never_again(_command: Command, _state: Any, _context: Context) -> tuple[Event, ...]:
    raise ZeroDivisionError


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_copy_of_an_accepted_command_gets_the_original_answer(bench: Bench, restarted: bool) -> None:  # noqa: FBT001
    original = await bench.send("register", "c1", model="T")
    if restarted:
        bench.restart()
    bench.clock.advance(timedelta(days=400))
    copy = await bench.send("register", "c1", model="T")
    assert copy.duplicate
    assert copy.outcome == original.outcome
    assert await bench.types() == ["DeviceRegistered"]


async def test_copies_in_one_batch_take_effect_once(bench: Bench) -> None:
    request = bench.request("register", "c1", model="T")
    answers = await bench.handler.handle([request, replace(request), replace(request)])
    assert [answer.duplicate for answer in answers] == [False, True, True]
    assert len({answer.outcome for answer in answers}) == 1
    assert await bench.types() == ["DeviceRegistered"]


async def test_a_refusal_sticks_even_when_the_state_would_allow_the_command_now(bench: Bench) -> None:
    refused = await bench.send("connect", "c1")
    assert refused.outcome.code == 404
    await bench.send("register", "c2", model="T")
    copy = await bench.send("connect", "c1")
    assert copy.duplicate
    assert copy.outcome == refused.outcome
    assert (await bench.send("connect", "c3")).outcome.code == 200


async def test_unchanged_sticks_too(bench: Bench) -> None:
    await bench.send("register", "c1", model="T")
    assert (await bench.send("disconnect", "c2")).outcome.code == 204
    await bench.send("connect", "c3")
    assert (await bench.send("disconnect", "c2")).outcome.code == 204
    assert await bench.types() == ["DeviceRegistered", "DeviceConnected"]


async def test_what_the_intake_refused_sticks_as_well(bench: Bench) -> None:
    request = bench.request("register", "c1", model=7)
    [refused] = await bench.handler.handle([request])
    assert refused.outcome.code == 422
    assert list(bench.outcomes.remembered) == [request.key]
    other_content = await bench.send("register", "c1", model="T")
    assert other_content.outcome.code == 409
    assert await bench.types() == []


async def test_a_copy_that_would_be_refused_today_still_gets_the_original_answer(bench: Bench) -> None:
    expiry = {"expires_at": (NOW + timedelta(minutes=1)).isoformat()}
    original = await bench.send("register", "c1", model="T", envelope=expiry)
    bench.clock.advance(timedelta(hours=1))
    copy = await bench.send("register", "c1", model="T", envelope=expiry)
    assert copy == Answer(original.outcome, duplicate=True)


async def test_the_same_id_with_other_content_is_refused_and_never_executed(bench: Bench) -> None:
    original = await bench.send("register", "c1", model="T")
    conflict = await bench.send("register", "c1", model="U")
    assert conflict.outcome.code == 409
    assert not conflict.duplicate
    assert (await bench.send("register", "c1", model="T")).outcome == original.outcome
    assert await bench.types() == ["DeviceRegistered"]


async def test_two_actors_may_use_the_same_id(bench: Bench) -> None:
    assert (await bench.send("register", "1", model="T")).outcome.code == 201
    assert (await bench.send("suspend", "1", actor="alice")).outcome.code == 200


@pytest.mark.parametrize("lower", ["0197b0c4-7c1a-7a3e-8f00-3b1d5c9e2a4f", "9f1c6b1e-2d34-4c55-9a77-0c1d2e3f4a5b"])
async def test_an_id_in_capital_letters_or_braces_is_another_id_even_if_it_is_a_uuid(bench: Bench, lower: str) -> None:
    await bench.send("register", "c1", model="T")
    for number, id in enumerate((lower, lower.upper(), f"{{{lower}}}", lower.replace("-", ""))):
        answer = await bench.send("report", id, properties={"n": number})
        assert (answer.outcome.code, answer.duplicate) == (200, False)
        assert (await bench.send("report", id, properties={"n": number})).duplicate
    assert len(await bench.types()) == 5


async def test_commands_without_an_id_leave_no_memory(bench: Bench) -> None:
    assert (await bench.send("connect")).outcome.code == 404
    assert not bench.outcomes.remembered
