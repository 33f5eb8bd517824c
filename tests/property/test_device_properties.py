from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from gateway.codec import StateCodec
from gateway.domain.decider import Command, Context, Event, Role
from gateway.domain.device import DEVICE
from gateway.domain.device_commands import (
    MAX_SAFE_INTEGER,
    AcknowledgeAlarm,
    Annotate,
    ClearAlarm,
    Configure,
    Connect,
    Decommission,
    Disconnect,
    RaiseAlarm,
    Recommission,
    RefuseConfiguration,
    Register,
    Report,
    Resume,
    Suspend,
)
from gateway.domain.device_events import PropertiesReported
from gateway.domain.device_state import DeviceState
from gateway.errors import Refusal

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SNAPSHOTS = StateCodec.of(DEVICE)

WORDS = st.sampled_from(["", "a", "b"])
NAMES = st.sampled_from(["rpm", "heat"])
TIMES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))]))
# few scalars, so that reports often match what is desired; some that Python takes for equal and JSON does not
SCALARS: st.SearchStrategy[JsonValue] = st.sampled_from([0, 1, 1.0, False, True, "1", None])
VALUES = SCALARS | st.recursive(
    SCALARS
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)
PROPERTIES = st.dictionaries(NAMES, VALUES, min_size=1)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


CODES = st.sampled_from(["hot", "wet"])
REASONS = st.sampled_from(["why", "because"])
LABELS = st.dictionaries(NAMES, WORDS)
FIRMWARE = optional(st.sampled_from(["1.0", "2.0"]))
REGISTER = st.builds(Register, model=st.sampled_from(["T", "U"]), firmware=FIRMWARE, attributes=LABELS)
REPORT = st.builds(Report, properties=PROPERTIES, measured_at=optional(TIMES))
CONFIGURE = st.builds(Configure, properties=PROPERTIES)
COMMANDS: st.SearchStrategy[Command] = st.one_of(
    REGISTER,
    REPORT,
    CONFIGURE,
    st.builds(Connect, firmware=FIRMWARE, address=optional(REASONS)),
    st.builds(Disconnect, reason=optional(REASONS)),
    st.builds(RefuseConfiguration, version=st.integers(1, 4), reason=REASONS),
    st.builds(RaiseAlarm, code=CODES, severity=st.sampled_from(["info", "critical"]), message=optional(REASONS)),
    st.builds(AcknowledgeAlarm, code=CODES, note=optional(REASONS)),
    st.builds(ClearAlarm, code=CODES),
    st.builds(Annotate, name=optional(REASONS), location=optional(REASONS), labels=optional(LABELS)),
    st.builds(Suspend, reason=optional(REASONS)),
    st.builds(Resume, reason=optional(REASONS)),
    st.builds(Decommission, reason=REASONS),
    st.builds(Recommission, reason=REASONS),
)


@dataclass(frozen=True)
class Step:
    command: Command
    context: Context
    before: DeviceState
    events: tuple[Event, ...]
    after: DeviceState


def settle(command: Command, state: DeviceState, context: Context) -> tuple[Event, ...] | None:
    """What the command causes; ``None`` where it is refused."""
    try:
        return DEVICE.decide(command, state, context)
    except Refusal:
        return None


def live(commands: list[Command]) -> Iterator[Step]:
    """The life of a device that is asked all this, one step for each command that is not refused."""
    state = DEVICE.initial
    for number, command in enumerate(commands):
        context = Context(START + timedelta(seconds=number), "alice", Role.OPERATOR)
        events = settle(command, state, context)
        if events is not None:
            after = DEVICE.fold(events, state)
            yield Step(command, context, state, events, after)
            state = after


LIVES: st.SearchStrategy[list[Step]] = st.builds(
    lambda first, rest: list(live([first, *rest])), REGISTER, st.lists(COMMANDS, max_size=20)
)


def reread(state: DeviceState) -> DeviceState:
    """The state as a snapshot gives it back."""
    read: DeviceState = SNAPSHOTS.from_json(SNAPSHOTS.to_json(state))
    return read


def same_text(one: object, other: object) -> bool:
    """Equal down to the letter: Python takes 1, 1.0 and True for equal, JSON text does not."""
    return repr(one) == repr(other)


@given(LIVES)
def test_a_state_is_the_fold_of_its_events(life: list[Step]) -> None:
    history = [event for step in life for event in step.events]
    assert same_text(DEVICE.fold(history), life[-1].after)


@given(LIVES)
def test_a_state_is_the_fold_of_its_events_as_they_are_read_back_from_json(life: list[Step]) -> None:
    history = [event for step in life for event in step.events]
    read = [type(event).model_validate_json(event.model_dump_json()) for event in history]
    assert read == history
    assert DEVICE.fold(read) == life[-1].after


@given(LIVES, st.data())
def test_a_fold_may_go_on_from_a_snapshot_of_any_moment(life: list[Step], data: st.DataObject) -> None:
    moment = data.draw(st.integers(0, len(life) - 1))
    later = [event for step in life[moment + 1 :] for event in step.events]
    assert DEVICE.fold(later, reread(life[moment].after)) == life[-1].after


@given(LIVES)
def test_a_snapshot_gives_the_state_back_and_so_the_same_json(life: list[Step]) -> None:
    for step in life:
        assert reread(step.after) == step.after
        assert SNAPSHOTS.to_json(reread(step.after)) == SNAPSHOTS.to_json(step.after)


@given(LIVES)
def test_neither_deciding_nor_folding_changes_the_state_that_was_given(life: list[Step]) -> None:
    for step in life:
        before = repr(step.before)
        DEVICE.fold(DEVICE.decide(step.command, step.before, step.context), step.before)
        assert repr(step.before) == before


@given(LIVES)
def test_the_same_command_right_again_has_no_effect_unless_it_begins_a_session(life: list[Step]) -> None:
    for step in life:
        again = settle(step.command, step.after, step.context)
        if isinstance(step.command, Connect):
            assert [type(event).__name__ for event in again or ()] == ["DeviceConnected"]
        else:
            assert not again


@given(LIVES)
def test_a_command_causes_only_events_that_it_declares_all_at_the_time_it_was_received(life: list[Step]) -> None:
    for step in life:
        assert {type(event) for event in step.events} <= set(step.command.causes)
        assert {event.at for event in step.events} <= {step.context.at}


@given(LIVES)
def test_what_is_shown_as_reported_is_what_the_device_reported_last(life: list[Step]) -> None:
    told: dict[str, JsonValue] = {}
    for step in life:
        for event in step.events:
            if isinstance(event, PropertiesReported):
                assert isinstance(step.command, Report)
                told |= event.properties
        assert same_text(dict(step.after.reported), told)
        assert step.after.reported.keys() == step.after.reported_at.keys()


def unchanged_by(cls: type[Command], view: Callable[[DeviceState], object], life: list[Step]) -> bool:
    return all(same_text(view(step.before), view(step.after)) for step in life if isinstance(step.command, cls))


@given(st.builds(lambda first, rest: list(live([first, *rest])), REGISTER, st.lists(REPORT | CONFIGURE, min_size=2)))
def test_configuring_never_changes_what_is_reported_and_reporting_never_what_is_desired(life: list[Step]) -> None:
    assert unchanged_by(Configure, lambda state: (state.reported, state.reported_at), life)
    assert unchanged_by(Report, lambda state: (state.desired, state.configuration.version), life)


@given(LIVES)
def test_a_configuration_counts_as_applied_only_from_a_state_that_reports_all_of_it(life: list[Step]) -> None:
    for step in life:
        if any(type(event).__name__ == "ConfigurationApplied" for event in step.events):
            reported = step.after.reported
            assert all(name in reported and reported[name] == value for name, value in step.after.desired.items())


@given(LIVES)
def test_the_version_of_the_configuration_never_falls(life: list[Step]) -> None:
    for step in life:
        rise = step.after.configuration.version - step.before.configuration.version
        assert rise == sum(type(event).__name__ == "ConfigurationRequested" for event in step.events)
