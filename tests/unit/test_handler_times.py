"""What the times in a command mean: it may expire, wait, and come again after a restart."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import orjson
import pytest

from gateway.errors import StoreUnavailable
from gateway.handler import DOUBT
from gateway.messages import (
    MessageProperties,
    Outcome,
)
from tests.support.delivery import command
from tests.support.handler_bench import INTAKE, NOW, Bench, LosesTheRequest, codes
from tests.support.memory_outcomes import MemoryOutcomes


@pytest.fixture(params=[False, True], ids=["looked up before", "told by the append"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(append_tells=request.param)


@pytest.mark.parametrize(
    "at", ["2026-03-01T13:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"]
)
async def test_the_senders_time_is_kept_and_decides_nothing_however_far_off_it_is(bench: Bench, at: str) -> None:
    await bench.send("register", "c1", model="T")
    answer = await bench.send("report", "c2", properties={"rpm": 1}, envelope={"issued_at": at})
    assert answer.outcome.code == 200
    recorded = (await bench.store.read_all(after=0))[-1]
    assert datetime.fromisoformat(orjson.loads(recorded.metadata)["issued_at"]) == datetime.fromisoformat(at)
    assert orjson.loads(recorded.data)["at"] == "2026-03-01T12:00:00Z"


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59"])
async def test_an_expiry_may_lie_as_far_ahead_as_a_sender_likes(bench: Bench, at: str) -> None:
    answer = await bench.send("register", "c1", model="T", envelope={"expires_at": at})
    assert answer.outcome.code == 201
    most = command("p", "p", "connect", properties=MessageProperties(expiry=2**32 - 1))
    [answer] = await bench.handler.handle([INTAKE.read_command(most, NOW)])
    assert answer.outcome.code == 200


async def test_a_command_that_expired_while_it_waited_is_refused(bench: Bench) -> None:
    expiry = {"expires_at": (NOW + timedelta(seconds=1)).isoformat()}
    request = bench.request("register", "c1", model="T", envelope=expiry)
    bench.clock.advance(timedelta(seconds=2))
    assert codes(await bench.handler.handle([request])) == [410]


async def test_a_copy_that_has_expired_is_looked_up_in_the_stream_where_its_effect_may_stand(bench: Bench) -> None:
    class Index(MemoryOutcomes):
        async def find(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:
            return await super().find(stream, revision, keys) if stream else {}

    bench.outcomes = Index(bench.store)
    bench.restart()
    body = {"command_id": "c1", "data": {"model": "T"}, "expires_at": (NOW + timedelta(seconds=1)).isoformat()}
    for code in (201, 201):
        request = INTAKE.read_command(command("p", "p", "register", body), bench.clock.now())
        assert codes(await bench.handler.handle([request])) == [code]
        bench.clock.advance(timedelta(seconds=2))


@pytest.mark.parametrize(("waited", "code"), [(2, 201), (DOUBT + 1, 410)])
async def test_a_command_that_may_be_on_its_way_into_the_log_is_not_refused_as_expired(
    waited: float, code: int
) -> None:
    bench = Bench(LosesTheRequest())
    expiry = {"expires_at": (NOW + timedelta(seconds=1)).isoformat()}
    request = bench.request("register", "c1", model="T", envelope=expiry)
    with pytest.raises(StoreUnavailable):
        await bench.handler.handle([request])
    bench.clock.advance(timedelta(seconds=waited))
    assert codes(await bench.handler.handle([request])) == [code]


@pytest.mark.parametrize(("lands", "code"), [(True, 201), (False, 410)])
async def test_an_expired_command_is_refused_only_once_no_append_from_before_the_restart_can_land(
    *, lands: bool, code: int
) -> None:
    store = LosesTheRequest()
    bench = Bench(store)
    expiry = {"expires_at": (NOW + timedelta(seconds=1)).isoformat()}
    request = bench.request("register", "c1", model="T", envelope=expiry)
    with pytest.raises(StoreUnavailable):
        await bench.handler.handle([request])
    bench.restart(late=60)
    bench.clock.advance(timedelta(seconds=2))
    [answer] = await bench.handler.handle([request])
    assert (answer.outcome.code, answer.outcome.retry_after_ms) == (503, 58_000)
    if lands:
        assert store.lost is not None
        await store.append(*store.lost)
    bench.clock.advance(timedelta(seconds=58))
    [answer] = await bench.handler.handle([request])
    assert (answer.outcome.code, answer.duplicate) == (code, lands)


class OnlyWhatIsAskedFor(MemoryOutcomes):
    """Promises no more than the port: up to the revision that is asked for."""

    async def find(self, stream: str, revision: int, keys: Sequence[UUID]) -> Mapping[UUID, Outcome]:
        found = await super().find(stream, revision, keys)
        return {key: one for key, one in found.items() if not one.events or one.events[0].revision <= revision}


async def test_an_expired_command_that_landed_behind_the_state_that_is_remembered_is_not_refused() -> None:
    store = LosesTheRequest()
    bench = Bench(store)
    bench.outcomes = OnlyWhatIsAskedFor(store)
    bench.restart()
    expiry = {"expires_at": (NOW + timedelta(seconds=1)).isoformat()}
    request = bench.request("register", "c1", model="T", envelope=expiry)
    with pytest.raises(StoreUnavailable):
        await bench.handler.handle([request])
    bench.restart(late=60)
    bench.clock.advance(timedelta(seconds=2))
    # remembered: there is no such device
    assert codes(await bench.handler.handle([request])) == [503]
    assert store.lost is not None
    await store.append(*store.lost)
    bench.clock.advance(timedelta(seconds=60))
    [answer] = await bench.handler.handle([request])
    assert (answer.outcome.code, answer.duplicate) == (201, True)


async def test_an_expired_command_without_an_id_of_its_own_is_no_copy_of_one_before_the_restart(bench: Bench) -> None:
    bench.restart(late=60)
    answer = await bench.send("register", model="T", envelope={"expires_at": (NOW - timedelta(1)).isoformat()})
    assert answer.outcome.code == 410
