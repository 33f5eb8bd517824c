import pytest

from gateway.rate import MAX_ACTORS, RateLimit


def test_a_burst_passes_then_the_rate_holds() -> None:
    limit = RateLimit(rate=10, burst=3)
    assert [limit.take("pump", 0.0) for _ in range(3)] == [0, 0, 0]
    assert limit.take("pump", 0.0) == pytest.approx(0.1)
    assert limit.take("pump", 0.11) == 0
    assert limit.take("pump", 0.11) > 0


def test_one_actor_does_not_use_up_the_tokens_of_another() -> None:
    limit = RateLimit(rate=1, burst=1)
    assert limit.take("pump", 0.0) == 0
    assert limit.take("pump", 0.0) > 0
    assert limit.take("valve", 0.0) == 0


def test_a_pause_fills_the_bucket_no_further_than_the_burst() -> None:
    limit = RateLimit(rate=10, burst=2)
    limit.take("pump", 0.0)
    assert [limit.take("pump", 1_000.0) > 0 for _ in range(3)] == [False, False, True]


def test_a_rate_of_zero_means_no_limit() -> None:
    limit = RateLimit(rate=0, burst=1)
    assert not any(limit.take("pump", 0.0) for _ in range(1_000))


def test_memory_stays_bounded_however_many_actors_there_are() -> None:
    limit = RateLimit(rate=1, burst=1)
    for number in range(MAX_ACTORS + 10):
        limit.take(f"actor-{number}", 0.0)
    assert len(limit._buckets) == MAX_ACTORS
