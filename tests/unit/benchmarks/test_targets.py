import math

import pytest

from benchmarks import table
from benchmarks.contenders.names import GATEWAY, LINK
from benchmarks.figures import Spread, Turn, percentile, spread
from benchmarks.targets import SATURATED, SINGLE, Judged, Round, judge


def turn(rate: float = 1.0, p50: float = 1.0) -> Turn:
    return Turn(
        rate=rate, p50=p50, p99=2.0, p999=3.0, longest=4.0, cpu_us=100.0, rss_mib=50.0, generator=0.1, broker=0.2
    )


def one_round(gateway: float, echo: float = 1_000.0) -> Round:
    return {(LINK, SATURATED): turn(echo), (GATEWAY, SATURATED): turn(gateway)}


def judged(*rounds: Round) -> Judged:
    (one,) = judge(rounds)
    return one


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100)])
def test_a_percentile_is_the_least_value_that_so_large_a_share_does_not_exceed(share: float, value: int) -> None:
    assert percentile(range(1, 101), share) == value


def test_a_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile([], 0.5))


def test_the_median_is_told_with_the_extremes() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("rate", "reached", "collapsed"), [(750, True, False), (740, False, False), (375, False, False), (370, False, True)]
)
def test_a_target_is_reached_missed_or_collapsed(rate: float, reached: bool, collapsed: bool) -> None:  # noqa: FBT001 - a table
    one = judged(one_round(rate))
    assert (one.reached, one.collapsed) == (reached, collapsed)


@pytest.mark.parametrize(("p50", "reached", "collapsed"), [(1.9, True, False), (2.5, False, False), (3.5, False, True)])
def test_of_a_latency_more_is_worse(p50: float, reached: bool, collapsed: bool) -> None:  # noqa: FBT001 - a table
    one = judged({(LINK, SINGLE): turn(), (GATEWAY, SINGLE): turn(p50=p50)})
    assert (one.reached, one.collapsed) == (reached, collapsed)


def test_contenders_are_compared_within_each_round() -> None:
    one = judged(one_round(800.0, 1_000.0), one_round(80.0, 100.0), one_round(1.0, 1_000.0))
    assert one.measured == Spread(0.8, 0.001, 0.8)


def test_a_target_is_not_judged_without_its_contender() -> None:
    assert judge([{(GATEWAY, SATURATED): turn()}]) == []


def test_the_tables_name_every_turn_ratio_and_verdict() -> None:
    rounds = [one_round(500.0)]
    assert "| link echo | saturated | 1,000 |" in table.turns(rounds)
    assert "| link echo | 2.00 x | 2.00 .. 2.00 | 1.00 x | 1.00 .. 1.00 |" in table.ratios(rounds)
    assert "| gateway / link echo | ≥ 0.75 x | 0.50 x | 0.50 .. 0.50 | missed |" in table.verdicts(judge(rounds))
