from pathlib import Path

import pytest

from benchmarks import plots
from benchmarks.growing import CACHED, DIMENSIONS, FIGURES, IN_TURN, STEADILY, Past
from gateway.settings import LimitSettings

ROUNDS = 5
DOCUMENT = Path(__file__).parents[3] / "docs" / "performance.md"


@pytest.mark.parametrize("name", DIMENSIONS)
def test_the_document_has_a_place_for_each_curve(name: str) -> None:
    assert plots.replaced(DOCUMENT.read_text(), name, "new")


@pytest.mark.parametrize("name", DIMENSIONS)
def test_no_load_names_a_device_that_the_log_does_not_have(name: str) -> None:
    dimension = DIMENSIONS[name]
    for point in (*dimension.points, *dimension.small):
        past = dimension.past(point, ROUNDS)
        assert past.devices <= past.events
        for number in range(ROUNDS):
            for load in (past.first(number), past.single(number), past.steady(number), past.saturated(number)):
                assert load.first + load.devices <= past.devices


@pytest.mark.parametrize("name", DIMENSIONS)
def test_points_grow_and_what_is_drawn_is_told(name: str) -> None:
    dimension = DIMENSIONS[name]
    assert list(dimension.points) == sorted(dimension.points)
    for chart in dimension.charts:
        assert {chart.bars, chart.line or chart.bars} <= {*FIGURES}


def test_as_many_devices_are_taken_for_remembered_as_the_gateway_remembers() -> None:
    assert LimitSettings().cached_devices == CACHED


def test_where_devices_do_not_fit_into_memory_each_round_steadily_asks_for_others_that_are_not_there() -> None:
    past = Past(100_000, 200_000, in_turn=100_000)
    seen: set[str] = set()
    for number in range(ROUNDS):
        load = past.steady(number)
        assert load.first >= past.in_memory == CACHED
        assert not seen & {*load.names}
        seen |= {*load.names}


def test_where_devices_fit_into_memory_none_is_asked_that_is_not_there() -> None:
    past = Past(10_000, 20_000, in_turn=10_000)
    for number in range(ROUNDS):
        load = past.steady(number)
        assert load.first + load.devices <= past.in_memory


def test_a_round_of_the_steady_load_asks_no_device_twice() -> None:
    assert STEADILY * 4 <= IN_TURN


def test_the_history_of_a_device_is_read_anew_in_each_round() -> None:
    past = DIMENSIONS["history"].past(1_000, ROUNDS)
    assert past.in_memory == 0
    assert {past.first(number).first for number in range(ROUNDS)} == {*range(ROUNDS)}
    for number in range(ROUNDS):
        assert past.first(number).first == past.single(number).first == past.saturated(number).first


def test_sizes_are_told_in_words() -> None:
    label = DIMENSIONS["payload"].label
    assert [label(size) for size in (150, 1_024, 61_440)] == ["150 B", "1 KiB", "60 KiB"]
