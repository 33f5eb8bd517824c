"""Whatever somebody asks is answered once, and never with a fault."""

from base64 import urlsafe_b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.queries.parameters import QUERIES
from tests.support.hostile import PAYLOADS
from tests.support.hostile import QUERIES as NASTY
from tests.support.hostile_queries import code_of_answer

SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from([-1, 0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 0.5, 1e300])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(
        ["pump", "reported.a.b", "-reported", "newest", "2026-03-01T12:00:00Z", "9999-12-31T23:59:59-12:00", "WzEsMl0="]
    )
)
OPERANDS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)
FILTERS = st.dictionaries(
    st.sampled_from(["id", "status", "reported", "reported.a", "reported.a.b", "...", "nothing"]),
    st.dictionaries(st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge", "in", "contains", "exists", "like"]), OPERANDS)
    | OPERANDS,
)
CURSORS = st.tuples(st.integers(-1, 5) | OPERANDS, OPERANDS, st.text("ap", max_size=2) | OPERANDS).map(
    lambda key: urlsafe_b64encode(orjson.dumps(key)).decode()
)
FIELDS = sorted({field.alias or name for one in QUERIES.values() for name, field in one.model_fields.items()})
PARAMETERS = st.fixed_dictionaries(
    {"device": st.sampled_from(["pump", "pump", "pump", "gw1", "x/y"])},
    optional={
        **{name: OPERANDS for name in FIELDS if name not in {"device", "timeout_ms", "wait_ms"}},
        "filter": FILTERS,
        "cursor": CURSORS | OPERANDS,
        "limit": st.integers(-1, 501),
        "timeout_ms": st.just(1),
    },
)
NAMES = st.sampled_from([*QUERIES, *QUERIES, "drop"])
ASKERS = st.sampled_from(["alice", "pump", "gw1", "nobody"])


@settings(max_examples=200)
@given(ASKERS, NAMES, PARAMETERS)
def test_whatever_is_asked_is_answered_once_and_is_no_fault(asker: str, name: str, parameters: dict[str, Any]) -> None:
    code_of_answer(asker, name, orjson.dumps(parameters))


@pytest.mark.parametrize(("name", "payload"), NASTY.values(), ids=NASTY)
def test_every_known_nasty_query_is_answered_once_and_is_no_fault(name: str, payload: bytes) -> None:
    code_of_answer("alice", name, payload)


@pytest.mark.parametrize("name", QUERIES)
def test_every_known_nasty_payload_is_answered_once_and_is_no_fault(name: str) -> None:
    assert {code_of_answer("alice", name, payload) for payload in PAYLOADS.values()} >= {400, 422}
