from typing import Any

import pytest

from gateway.errors import Invalid
from gateway.queries.filters import MAX_CONDITIONS, compile_filter, sort_key

PUMP: dict[str, Any] = {
    "id": "pump-7",
    "status": "online",
    "name": None,
    "connected": True,
    "labels": {"site": "north", "a.b": "dotted"},
    "reported": {"rpm": 900, "motor.temp": 41.5, "modes": ["eco", "boost"], "flag": False},
}


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"status": "online"},
        {"status": {"eq": "online"}},
        {"status": {"ne": "offline"}},
        {"missing": {"ne": "x"}},
        {"reported.rpm": 900},
        {"reported.rpm": 900.0},
        {"reported.rpm": {"ge": 900, "lt": 901}},
        {"reported.rpm": {"gt": 899, "le": 900}},
        {"reported.motor.temp": {"gt": 41}},
        {"labels.a.b": "dotted"},
        {"status": {"lt": "p"}},
        {"labels.site": {"in": ["south", "north"]}},
        {"reported.modes": {"contains": "eco"}},
        {"labels.site": {"contains": "ort"}},
        {"name": {"exists": False}},
        {"missing.deep": {"exists": False}},
        {"labels": {"exists": True}},
        {"name": None},
        {"connected": True, "reported.flag": False},
    ],
)
def test_a_document_for_which_every_condition_holds_is_found(conditions: dict[str, Any]) -> None:
    assert compile_filter(conditions)(PUMP)


@pytest.mark.parametrize(
    "conditions",
    [
        {"status": "offline"},
        {"missing": "x"},
        {"missing": None},
        {"connected": 1},
        {"reported.flag": 0},
        {"reported.rpm": {"gt": 900}},
        {"reported.rpm": {"gt": "1"}},
        {"connected": {"ge": 0}},
        {"name": {"lt": "z"}},
        {"labels": {"lt": "z"}},
        {"reported.rpm": {"in": ["900"]}},
        {"reported.rpm": {"contains": 9}},
        {"labels.site": {"contains": 1}},
        {"reported": {"contains": "rpm"}},
        {"name": {"exists": True}},
        {"status": "online", "reported.rpm": 1},
        {"status.online": {"exists": True}},
    ],
)
def test_a_document_for_which_one_condition_does_not_hold_is_not_found(conditions: dict[str, Any]) -> None:
    assert not compile_filter(conditions)(PUMP)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"status": {}}, "needs an operator"),
        ({"status": {"like": "on%"}}, "'like' is none of eq, ne"),
        ({"status": {"in": "online"}}, "in takes an array"),
        ({"status": {"exists": 1}}, "exists takes true or false"),
        ({f"field{number}": 1 for number in range(MAX_CONDITIONS + 1)}, "at most 16 conditions"),
    ],
)
def test_a_filter_that_cannot_be_used_is_refused_with_the_reason(conditions: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        compile_filter(conditions)


def test_values_of_every_kind_have_one_order() -> None:
    values: list[Any] = [{"a": 1}, "b", "a", 2, 1.5, -1, True, False, None]
    documents = [{"id": str(number), "value": value} for number, value in enumerate(values)]
    documents.append({"id": "without"})
    documents.sort(key=lambda document: sort_key(document, "value"))
    assert [document.get("value") for document in documents] == [
        None,
        None,
        False,
        True,
        -1,
        1.5,
        2,
        "a",
        "b",
        {"a": 1},
    ]
