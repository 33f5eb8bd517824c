"""The state as it was is the fold of what had happened, and a difference leads from one state to the other."""

import asyncio
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from gateway.codec import EventCodec, StateCodec
from gateway.domain import DECIDERS
from gateway.domain import device_events as happened
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Event
from gateway.domain.device import DEVICE
from gateway.messages import RecordedEvent
from gateway.queries.history import HistoryQueries
from gateway.queries.parameters import Diff, StateAt
from tests.support.apply_patch import apply_patch
from tests.support.histories import History
from tests.support.memory_store import MemoryStore
from tests.support.requests import NOW

CATALOGUE = Catalogue(DECIDERS)
CODEC = EventCodec(CATALOGUE)
VALUES: st.SearchStrategy[Any] = (
    st.booleans() | st.integers(-3, 3) | st.text(alphabet="ab~/", max_size=2) | st.just([1, {"a": None}])
)
PROPERTIES = st.dictionaries(st.sampled_from(["rpm", "a.b", "t"]), VALUES, min_size=1, max_size=3)
WISHES = st.dictionaries(st.sampled_from(["rpm", "a.b", "t"]), VALUES | st.none(), min_size=1, max_size=3)
"""What is desired; null withdraws a wish."""

CODES = st.sampled_from(["hot", "dry"])
WORDS = st.sampled_from(["x", "y"])
MAYBE = st.none() | WORDS
VERSIONS = st.integers(1, 3)
AT = st.just(NOW)

KINDS: dict[type[Event], st.SearchStrategy[Event]] = {
    happened.DeviceRegistered: st.builds(happened.DeviceRegistered, at=AT, model=WORDS, serial=MAYBE, firmware=MAYBE),
    happened.DeviceConnected: st.builds(happened.DeviceConnected, at=AT, address=MAYBE),
    happened.FirmwareChanged: st.builds(happened.FirmwareChanged, at=AT, firmware=WORDS, previous=MAYBE),
    happened.DeviceDisconnected: st.builds(happened.DeviceDisconnected, at=AT, reason=MAYBE),
    happened.PropertiesReported: st.builds(
        happened.PropertiesReported, at=AT, properties=PROPERTIES, measured_at=st.none() | AT
    ),
    happened.ConfigurationRequested: st.builds(
        happened.ConfigurationRequested, at=AT, configuration=VERSIONS, properties=WISHES
    ),
    happened.ConfigurationApplied: st.builds(happened.ConfigurationApplied, at=AT, configuration=VERSIONS),
    happened.ConfigurationRefused: st.builds(
        happened.ConfigurationRefused, at=AT, configuration=VERSIONS, reason=WORDS
    ),
    happened.AlarmRaised: st.builds(
        happened.AlarmRaised, at=AT, code=CODES, severity=st.sampled_from(["info", "critical"]), message=MAYBE
    ),
    happened.AlarmAcknowledged: st.builds(happened.AlarmAcknowledged, at=AT, code=CODES, by=WORDS, note=MAYBE),
    happened.AlarmCleared: st.builds(happened.AlarmCleared, at=AT, code=CODES),
    happened.DeviceAnnotated: st.builds(
        happened.DeviceAnnotated,
        at=AT,
        name=MAYBE,
        location=MAYBE,
        labels=st.none() | st.dictionaries(WORDS, WORDS, max_size=2),
    ),
    happened.DeviceSuspended: st.builds(happened.DeviceSuspended, at=AT, reason=MAYBE),
    happened.DeviceResumed: st.builds(happened.DeviceResumed, at=AT, reason=MAYBE),
    happened.DeviceDecommissioned: st.builds(happened.DeviceDecommissioned, at=AT, reason=WORDS),
    happened.DeviceRecommissioned: st.builds(happened.DeviceRecommissioned, at=AT, reason=WORDS),
}


def _possible(events: list[Event]) -> list[Event]:
    """Without acknowledgements of alarms that were not raised: nobody decides that."""
    state, kept = DEVICE.initial, []
    for event in events:
        if not isinstance(event, happened.AlarmAcknowledged) or event.code in state.alarms:
            kept.append(event)
            state = DEVICE.evolve(state, event)
    return kept


HAPPENED = st.lists(st.one_of(*KINDS.values()), max_size=12).map(_possible)


def test_no_kind_of_event_is_left_out() -> None:
    assert set(KINDS) == set(DEVICE.events)


def _queries(events: list[Event]) -> tuple[HistoryQueries, list[Any]]:
    """The queries on a log of these events, a second apart; and the state after each of them."""
    history = History(CODEC)
    history.add("device-p", events)
    store = MemoryStore()
    store.events = [
        RecordedEvent(
            event.position,
            event.stream,
            event.revision,
            NOW + timedelta(seconds=event.revision),
            event.id,
            event.type,
            event.data,
            event.metadata,
        )
        for event in history.events
    ]
    states = [DEVICE.fold(events[: count + 1]) for count in range(len(events))]
    documents = [StateCodec.of(DEVICE).to_document(state) for state in states]
    return HistoryQueries(store, CATALOGUE, CODEC), documents


@given(HAPPENED, st.integers(1, 5), st.data())
def test_the_state_at_every_revision_and_time_is_the_fold_of_what_came_before(
    events: list[Event], every: int, data: st.DataObject
) -> None:
    queries, documents = _queries([happened.DeviceRegistered(at=NOW, model="T"), *events])

    async def ask() -> None:
        for revision in data.draw(st.permutations(range(len(documents)))):
            document = documents[revision]
            for moment in (revision, NOW + timedelta(seconds=revision), NOW + timedelta(seconds=revision + 0.9)):
                answer = (await queries.state_at(StateAt(device="p", at=moment))).value
                assert (answer["revision"], answer["state"]) == (revision, document)

    with patch("gateway.queries.history.EVERY", every):
        asyncio.run(ask())


@given(HAPPENED, st.data())
def test_the_difference_applied_to_the_one_state_gives_the_other(events: list[Event], data: st.DataObject) -> None:
    queries, documents = _queries([happened.DeviceRegistered(at=NOW, model="T"), *events])
    nothing = StateCodec.of(DEVICE).to_document(DEVICE.initial)
    revisions = st.integers(-1, len(documents) - 1)
    before, after = data.draw(revisions), data.draw(revisions)

    def moment(revision: int) -> Any:
        """The revision, or a time at which it was the newest one."""
        return data.draw(st.sampled_from([revision, NOW + timedelta(seconds=revision + 0.5)]))

    answer = asyncio.run(queries.diff(Diff(device="p", before=moment(before), after=moment(after)))).value

    assert (answer["from"]["revision"], answer["to"]["revision"]) == (before, after)
    first, last = (nothing if revision < 0 else documents[revision] for revision in (before, after))
    assert apply_patch(first, answer["patch"]) == last
