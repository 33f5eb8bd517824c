"""Whatever a sender thinks of, it ends in one answer or one dead letter, and harms nobody."""

import gc
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.messages import MessageProperties, Request
from tests.support.delivery import ROOT, FakeDelivery
from tests.support.hostile import LEVELS, PAYLOADS
from tests.support.hostile_commands import CATALOGUE, take

NAMES = [name for decider in CATALOGUE for name in (one.name for one in decider.commands)]

TEXTS = st.text(max_size=20) | st.sampled_from(["\ud800", "\x00", "a" * 300, "\u202e", "$SYS/#", "+"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | TEXTS
    | st.sampled_from(["2026-03-01T12:00:00Z", "9999-12-31T23:59:59Z", "critical", "T-1000"])
)
KEYS = TEXTS | st.sampled_from(
    [
        "properties",
        "data",
        "command_id",
        "expires_at",
        "model",
        "code",
        "severity",
        "version",
        "reason",
        "dry_run",
        "wait_for",
    ]
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=15
)


def _as_json(value: object) -> bytes:
    """As lax as senders are: with NaN, and with half of a surrogate pair."""
    return json.dumps(value, ensure_ascii=True).encode()


BODIES = (
    st.dictionaries(KEYS, VALUES, max_size=5).map(_as_json)
    | VALUES.map(_as_json)
    | st.binary(max_size=60)
    | st.sampled_from(list(PAYLOADS.values()))
)
PROPERTIES = st.builds(
    MessageProperties,
    response_topic=st.none()
    | st.sampled_from([f"{ROOT}/ack/pump/x", f"{ROOT}/ack/pump/#", f"{ROOT}/ack/pump/", "$SYS/x", "", "a" * 70_000])
    | TEXTS.map(lambda below: f"{ROOT}/ack/pump/{below}"),
    correlation_data=st.none() | st.binary(max_size=80),
    content_type=st.none() | TEXTS,
    expiry=st.none() | st.integers(0, 2**32 - 1),
    user=st.lists(st.tuples(TEXTS | st.sampled_from(["correlation_id", "traceparent"]), TEXTS), max_size=3).map(tuple),
    complete=st.sampled_from([True, True, True, False]),
)
DELIVERIES = st.builds(
    lambda actor, device, name, body, properties, retain: FakeDelivery(
        f"{ROOT}/cmd/{actor}/{device}/{name}", body, retain, properties=properties
    ),
    st.sampled_from(["pump", "pump", "alice", *LEVELS]),
    st.sampled_from(["pump", "pump", "pump", *LEVELS]),
    st.sampled_from([*NAMES, "explode", "", "report/more"]),
    BODIES,
    PROPERTIES,
    st.booleans(),
)


def test_nothing_is_kept_of_what_was_refused() -> None:
    take(*(FakeDelivery(f"{ROOT}/cmd/pump/pump/report", payload) for payload in PAYLOADS.values()))
    gc.collect()
    assert [kept for kept in gc.get_objects() if isinstance(kept, Request) and kept.refusal is not None] == []


@settings(max_examples=300)
@given(st.lists(DELIVERIES, min_size=1, max_size=4))
def test_whatever_comes_is_answered_once_and_harms_nobody(deliveries: list[FakeDelivery]) -> None:
    take(*deliveries)


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("name", ["report", "configure", "raise-alarm", "annotate", "record-outage"])
def test_every_known_nastiness_is_answered_once_and_harms_nobody(payload: bytes, name: str) -> None:
    actor = "pump" if name == "report" else "alice"
    take(FakeDelivery(f"{ROOT}/cmd/{actor}/pump/{name}", payload))


@pytest.mark.parametrize("level", LEVELS)
def test_every_odd_topic_is_answered_or_buried(level: str) -> None:
    take(
        *(
            FakeDelivery(f"{ROOT}/cmd/{topic}")
            for topic in (f"{level}/pump/report", f"pump/{level}/report", f"pump/pump/{level}")
        )
    )
