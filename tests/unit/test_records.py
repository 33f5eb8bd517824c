"""Records are what the standard library would make of them."""

import dataclasses
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.device_state import DeviceState
from gateway.records import dataclass, replace

pytestmark = pytest.mark.embedded

STATE = DeviceState(model="T-1000", reported={"rpm": 900}, last_seen=datetime(2026, 3, 1, tzinfo=UTC))
NAMES = [field.name for field in dataclasses.fields(DeviceState)]


@dataclass(frozen=True, slots=True)
class Single:
    only: int


@given(st.dictionaries(st.sampled_from(NAMES), st.integers()))
def test_it_is_what_the_standard_library_makes(changes: dict[str, int]) -> None:
    assert replace(STATE, **changes) == dataclasses.replace(STATE, **changes)  # type: ignore[arg-type]


def test_the_record_stays_as_it_was() -> None:
    replace(STATE, reported={})
    assert STATE.reported == {"rpm": 900}


def test_of_a_single_field() -> None:
    assert replace(Single(1), only=2) == Single(2)


def test_a_field_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="DeviceState has no field 'colour'"):
        replace(STATE, colour="red")  # type: ignore[call-arg]


def test_the_type_checker_refuses_what_would_change_a_record() -> None:
    """It complains of the comment below if it does not."""
    single = Single(1)
    single.only = 2  # type: ignore[misc]


def test_records_may_be_keys() -> None:
    assert {Single(1): "one"}[Single(1)] == "one"


def test_what_may_be_changed_is_no_record() -> None:
    with pytest.raises(TypeError, match="must be frozen"):

        @dataclass(slots=True)
        class _Changing:
            only: int
