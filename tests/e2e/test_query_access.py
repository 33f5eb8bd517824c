"""Who learns what: each query, asked by a device about itself, by operators, by another device, and by a stranger."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
import pytest_asyncio

from gateway.queries.parameters import QUERIES
from tests.support.asking import ask
from tests.support.technician import Technician

PUMP: Final = "pump-7"
VALVE: Final = "valve-7"
ITSELF, ALICE, OLGA, OTHER, STRANGER = PUMP, "alice", "olga", VALVE, "mallory"
"""Alice is operator of every device, Olga of valves; the valve is another device."""

EVERYBODY: Final = frozenset({ITSELF, ALICE, OLGA, OTHER, STRANGER})
KNOWING: Final = frozenset({ITSELF, ALICE})

Asked = tuple[str, dict[str, Any]]

OF_THE_PUMP: Final[tuple[Asked, ...]] = (
    ("get", {"device": PUMP}),
    ("history", {"device": PUMP}),
    ("state_at", {"device": PUMP, "at": 0}),
    ("diff", {"device": PUMP, "from_": 0, "to": 1}),
    ("alarms", {"device": PUMP}),
    ("outcome", {"command_id": "of-pump", "device": PUMP}),
    ("trace", {"command_id": "of-pump", "device": PUMP}),
)
"""Refused to whoever may not know of the pump."""

OF_ALL: Final[tuple[Asked, ...]] = (("summary", {}), ("outages", {}))
"""Refused to whoever may not know of everything."""

OF_WHAT_ONE_MAY_KNOW: Final[tuple[Asked, ...]] = (
    ("list", {}),
    ("alarms", {}),
    ("outcome", {"command_id": "of-pump"}),
    ("trace", {"command_id": "of-pump"}),
    ("feed", {"limit": 500}),
)
"""Answered to everybody, with what he may know."""


Ask = Callable[[str, Asked], Awaitable[dict[str, Any]]]


@pytest_asyncio.fixture
async def answer_to(tech: Technician) -> Ask:
    """Asks, where there are a pump and a valve, each with one alarm."""

    async def answer_to(asker: str, asked: Asked) -> dict[str, Any]:
        query, parameters = asked
        return await ask(tech, asker, query, **parameters)

    for device in (PUMP, VALVE):
        await tech.send(device, device, "register", {"model": "T-1000"}, id=f"{device}-1")
        alarm = {"code": f"of-{device}", "severity": "info"}
        await tech.send(device, device, "raise-alarm", alarm, id=f"of-{device[:-2]}", wait_for="projected")
    return answer_to


def _name(asked: Asked) -> str:
    return f"{asked[0]} {'of one' if 'device' in asked[1] else ''}".strip()


@pytest.mark.parametrize("asker", sorted(EVERYBODY))
@pytest.mark.parametrize("asked", OF_THE_PUMP, ids=_name)
async def test_of_a_device_learn_itself_and_its_operators(answer_to: Ask, asked: Asked, asker: str) -> None:
    answer = await answer_to(asker, asked)
    assert (answer["code"], "result" in answer) == ((200, True) if asker in KNOWING else (403, False))
    assert asker in KNOWING or PUMP not in str(answer.get("result"))


@pytest.mark.parametrize("asker", sorted(EVERYBODY))
@pytest.mark.parametrize("asked", OF_ALL, ids=_name)
async def test_of_all_devices_and_of_the_gateway_learn_operators_of_all(
    answer_to: Ask, asked: Asked, asker: str
) -> None:
    answer = await answer_to(asker, asked)
    assert (answer["code"], "result" in answer) == ((200, True) if asker == ALICE else (403, False))


@pytest.mark.parametrize("asker", sorted(EVERYBODY))
@pytest.mark.parametrize("asked", OF_WHAT_ONE_MAY_KNOW, ids=_name)
async def test_what_is_told_to_everybody_holds_only_what_he_may_know(answer_to: Ask, asked: Asked, asker: str) -> None:
    answer = await answer_to(asker, asked)
    assert answer["code"] == 200
    told = str(answer["result"])
    knows_valve = asker in {ALICE, OLGA, OTHER} and asked[1].get("command_id") is None
    assert (PUMP in told, VALVE in told) == (asker in KNOWING, knows_valve)


@pytest.mark.parametrize("asker", sorted(EVERYBODY))
async def test_what_can_be_sent_is_told_to_everybody(answer_to: Ask, asker: str) -> None:
    answer = await answer_to(asker, ("commands", {}))
    assert (answer["code"], "register" in answer["result"]) == (200, True)


def test_no_query_is_left_out() -> None:
    tried = {query for query, _ in (*OF_THE_PUMP, *OF_ALL, *OF_WHAT_ONE_MAY_KNOW)} | {"commands"}
    assert tried == QUERIES.keys()
