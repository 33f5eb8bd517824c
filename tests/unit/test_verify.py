from typing import Final

from gateway.domain.decider import Document
from gateway.verify import Difference, differences

PUMP: Final[Document] = {"id": "pump-7", "model": "T", "serial": None}
VALVE: Final[Document] = {"id": "valve-2", "model": "U", "serial": None}


def test_equal_caches_do_not_differ_whatever_the_order() -> None:
    assert not list(differences({"devices": [PUMP, VALVE]}, {"devices": [VALVE, PUMP]}))


def test_a_table_without_documents_is_no_difference() -> None:
    assert not list(differences({"devices": [PUMP]}, {"devices": [PUMP], "alarms": []}))


def test_each_changed_value_is_told_by_collection_document_and_field() -> None:
    changed: Document = {**PUMP, "model": "X", "serial": "s"}
    assert list(differences({"devices": [PUMP, VALVE]}, {"devices": [changed, VALVE]})) == [
        Difference("devices", "pump-7", "model", "T", "X"),
        Difference("devices", "pump-7", "serial", None, "s"),
    ]


def test_a_null_is_not_the_same_as_no_value() -> None:
    without: Document = {"id": "pump-7", "model": "T"}
    assert list(differences({"devices": [PUMP]}, {"devices": [without]})) == [
        Difference("devices", "pump-7", "serial", None, None)
    ]


def test_a_document_that_is_missing_and_one_that_should_not_be_are_told_as_a_whole() -> None:
    assert list(differences({"devices": [PUMP]}, {"devices": [VALVE]})) == [
        Difference("devices", "pump-7", "id", "pump-7", None),
        Difference("devices", "valve-2", "id", None, "valve-2"),
    ]


def test_a_collection_that_only_one_of_them_has_is_compared_too() -> None:
    assert list(differences({"devices": [PUMP]}, {"things": [PUMP]})) == [
        Difference("devices", "pump-7", "id", "pump-7", None),
        Difference("things", "pump-7", "id", None, "pump-7"),
    ]
