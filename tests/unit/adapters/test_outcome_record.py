from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.outcome_record import decode_outcome, encode_outcome
from gateway.messages import ErrorDetail, EventRef, Outcome

TEXT = st.text(st.characters(codec="utf-8"))
SCALARS: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(SCALARS, lambda some: st.lists(some) | st.dictionaries(TEXT, some), max_leaves=8)
TIMES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))
OUTCOMES = st.builds(
    Outcome,
    code=st.integers(200, 599),
    digest=st.binary(max_size=16),
    received_at=TIMES,
    revision=st.none() | st.integers(-1, 2**63 - 1),
    position=st.none() | st.integers(0, 2**63 - 1),
    events=st.lists(st.builds(EventRef, st.uuids(), TEXT, st.integers(0), VALUES), max_size=3).map(tuple),
    error=st.none() | st.builds(ErrorDetail, TEXT, TEXT, st.none() | TEXT, VALUES),
    persisted_at=st.none() | TIMES,
    retry_after_ms=st.none() | st.integers(0, 2**31),
)


@given(OUTCOMES)
def test_an_outcome_comes_back_exactly(outcome: Outcome) -> None:
    assert decode_outcome(encode_outcome(outcome)) == outcome


@pytest.mark.parametrize("value", [10**40, float("inf"), -0.0, 1.0, 1, True, "\x00"])
def test_an_offending_value_keeps_its_type(value: Any) -> None:
    outcome = Outcome(422, b"", datetime.now(UTC), error=ErrorDetail("invalid-field", "no", "data.rpm", value))

    decoded = decode_outcome(encode_outcome(outcome))

    assert decoded.error is not None
    assert repr(decoded.error.value) == repr(value)
