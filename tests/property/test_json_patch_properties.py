from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.queries.json_patch import make_patch
from tests.support.apply_patch import apply_patch

KEYS = st.text(alphabet="ab/~.", max_size=3)
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text(alphabet="ab", max_size=2)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)


def exact(value: Any) -> Any:
    """The value with its types, because Python's True is its 1."""
    if isinstance(value, dict):
        return {key: exact(one) for key, one in value.items()}
    if isinstance(value, list):
        return [exact(one) for one in value]
    return type(value).__name__, value


@given(DOCUMENTS, DOCUMENTS)
def test_the_patch_makes_the_one_document_of_the_other(before: Any, after: Any) -> None:
    assert exact(apply_patch(before, make_patch(before, after))) == exact(after)


@given(DOCUMENTS)
def test_there_is_nothing_to_do_between_equal_documents(document: Any) -> None:
    assert make_patch(document, document) == []
