"""The state as it was is the fold of what had happened, and a difference leads from one state to the other."""

import asyncio
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from gateway.codec import EventCodec, StateCodec
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Event
from gateway.domain.device import DEVICE
from gateway.domain.device_events import (
    AlarmCleared,
    AlarmRaised,
    ConfigurationRequested,
    DeviceConnected,
    DeviceDisconnected,
    DeviceRegistered,
    PropertiesReported,
)
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
HAPPENED = st.lists(
    st.one_of(
        PROPERTIES.map(lambda properties: PropertiesReported(at=NOW, properties=properties)),
        PROPERTIES.map(lambda properties: ConfigurationRequested(at=NOW, configuration=1, properties=properties)),
        st.sampled_from(["hot", "dry"]).map(lambda code: AlarmRaised(at=NOW, code=code, severity="info")),
        st.sampled_from(["hot", "dry"]).map(lambda code: AlarmCleared(at=NOW, code=code)),
        st.just(DeviceConnected(at=NOW)),
        st.just(DeviceDisconnected(at=NOW)),
    ),
    max_size=12,
)


def _queries(happened: list[Event]) -> tuple[HistoryQueries, list[Any]]:
    """The queries on a log of these events, a second apart; and the state after each of them."""
    history = History(CODEC)
    history.add("device-p", happened)
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
    states = [DEVICE.fold(happened[: count + 1]) for count in range(len(happened))]
    documents = [StateCodec.of(DEVICE).to_document(state) for state in states]
    return HistoryQueries(store, CATALOGUE, CODEC), documents


@given(HAPPENED, st.integers(1, 5), st.data())
def test_the_state_at_every_revision_and_time_is_the_fold_of_what_came_before(
    happened: list[Event], every: int, data: st.DataObject
) -> None:
    events = [DeviceRegistered(at=NOW, model="T"), *happened]
    queries, documents = _queries(events)

    async def ask() -> None:
        for revision in data.draw(st.permutations(range(len(documents)))):
            document = documents[revision]
            for moment in (revision, NOW + timedelta(seconds=revision), NOW + timedelta(seconds=revision + 0.9)):
                answer = (await queries.state_at(StateAt(device="p", at=moment))).value
                assert (answer["revision"], answer["state"]) == (revision, document)

    with patch("gateway.queries.history.EVERY", every):
        asyncio.run(ask())


@given(HAPPENED, st.data())
def test_the_difference_applied_to_the_one_state_gives_the_other(happened: list[Event], data: st.DataObject) -> None:
    events = [DeviceRegistered(at=NOW, model="T"), *happened]
    queries, documents = _queries(events)
    revisions = st.integers(0, len(documents) - 1)
    before, after = data.draw(revisions), data.draw(revisions)

    answer = asyncio.run(queries.diff(Diff(device="p", before=before, after=after))).value

    assert (answer["from"]["revision"], answer["to"]["revision"]) == (before, after)
    assert apply_patch(documents[before], answer["patch"]) == documents[after]
