"""Two read caches, compared: what the log says, and what was found. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from gateway.domain.decider import Document


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that is not what the log says.

    Attributes:
        collection: the table of the read cache.
        id: of the document in it.
        field: of the document; the field ``id`` stands for a whole document that is missing, or that should not be.
        expected, found: the values; ``None`` also where there is none.
    """

    collection: str
    id: str
    field: str
    expected: JsonValue
    found: JsonValue


def differences(
    expected: Mapping[str, Iterable[Document]], found: Mapping[str, Iterable[Document]]
) -> Iterator[Difference]:
    """What differs between two caches, given as their tables: by collection, document and field."""
    for collection in sorted({*expected, *found}):
        right, actual = (_by_id(tables.get(collection, ())) for tables in (expected, found))
        for id in sorted({*right, *actual}):
            for field, wanted, there in _compare(right.get(id), actual.get(id)):
                yield Difference(collection, id, field, wanted, there)


def _by_id(documents: Iterable[Document]) -> dict[str, Document]:
    return {str(document["id"]): document for document in documents}


def _compare(expected: Document | None, found: Document | None) -> Iterator[tuple[str, JsonValue, JsonValue]]:
    if expected is None or found is None:
        yield "id", expected and expected["id"], found and found["id"]
        return
    for field in sorted({*expected, *found}):
        if (field in expected) != (field in found) or expected.get(field) != found.get(field):
            yield field, expected.get(field), found.get(field)
