"""A filter on documents: a JSON object of conditions by field, all of which must hold. Pure.

``{"status": "online", "reported.rpm": {"ge": 900}}``. A value stands for ``{"eq": value}``; a field is a dotted path,
in which a key may itself have dots. What is compiled is a query for TinyDB.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic import JsonValue
from tinydb.queries import QueryLike

from gateway.errors import Invalid

MAX_CONDITIONS: Final = 16

_MISSING: Final = object()

_Test = Callable[[Any, Any], bool]
"""Whether a condition holds, given the value that the document has, and the one that the filter names."""


def _ordered(compare: Callable[[Any, Any], bool]) -> _Test:
    def test(found: object, wanted: object) -> bool:
        numbers = _is_number(found) and _is_number(wanted)
        return (numbers or (isinstance(found, str) and isinstance(wanted, str))) and compare(found, wanted)

    return test


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(found: object, wanted: object) -> bool:
    # JSON's true is not its 1, as it is in Python
    return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted


def _contains(found: object, wanted: object) -> bool:
    if isinstance(found, str):
        return isinstance(wanted, str) and wanted in found
    return isinstance(found, list) and any(_equal(one, wanted) for one in found)


OPERATORS: Final[Mapping[str, _Test]] = {
    "eq": lambda found, wanted: found is not _MISSING and _equal(found, wanted),
    "ne": lambda found, wanted: found is _MISSING or not _equal(found, wanted),
    "lt": _ordered(lambda found, wanted: found < wanted),
    "le": _ordered(lambda found, wanted: found <= wanted),
    "gt": _ordered(lambda found, wanted: found > wanted),
    "ge": _ordered(lambda found, wanted: found >= wanted),
    "in": lambda found, wanted: found is not _MISSING and any(_equal(found, one) for one in wanted),
    "contains": _contains,
    "exists": lambda found, wanted: (found is not _MISSING and found is not None) == wanted,
}


def compile_filter(conditions: Mapping[str, JsonValue]) -> QueryLike:
    """The filter as a query.

    Raises:
        Invalid: it names an unknown operator, or an operand that does not fit.
    """
    if len(conditions) > MAX_CONDITIONS:
        raise Invalid(f"a filter has at most {MAX_CONDITIONS} conditions", field="filter")
    tests = [one for path, condition in conditions.items() for one in _tests(path, condition)]

    def matches(value: Mapping[Any, Any]) -> bool:
        return all(test(look_up(value, path), wanted) for path, test, wanted in tests)

    return matches


def look_up(document: object, path: str) -> Any:  # noqa: ANN401 - any JSON value
    """The value at a dotted path; a marker that equals nothing where there is none."""
    if not isinstance(document, Mapping):
        return _MISSING
    if path in document:
        return document[path]
    for at, sign in enumerate(path):
        if sign == "." and path[:at] in document:
            found = look_up(document[path[:at]], path[at + 1 :])
            if found is not _MISSING:
                return found
    return _MISSING


def picked(document: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """The values at these paths, each under its path; what is missing is left out."""
    values = {path: look_up(document, path) for path in paths}
    return {path: value for path, value in values.items() if value is not _MISSING}


def sort_key(document: Mapping[str, Any], path: str) -> tuple[int, Any, str]:
    """By the value at a path, then by id: what is missing first, then false and true, numbers, texts, anything else."""
    value, id_ = look_up(document, path), str(document["id"])
    if value is _MISSING or value is None:
        return 0, 0, id_
    if isinstance(value, bool):
        return 1, value, id_
    if isinstance(value, int | float):
        return 2, value, id_
    if isinstance(value, str):
        return 3, value, id_
    return 4, 0, id_


def _tests(path: str, condition: JsonValue) -> list[tuple[str, _Test, Any]]:
    if not isinstance(condition, dict):
        return [(path, OPERATORS["eq"], condition)]
    if not condition:
        raise Invalid("a condition needs an operator", field=f"filter.{path}"[:64])
    for name, wanted in condition.items():
        if name not in OPERATORS:
            raise Invalid(f"{name[:32]!r} is none of {', '.join(OPERATORS)}", field=f"filter.{path}"[:64])
        if (name == "in" and not isinstance(wanted, list)) or (name == "exists" and not isinstance(wanted, bool)):
            raise Invalid(
                f"{name} takes {'an array' if name == 'in' else 'true or false'}", field=f"filter.{path}"[:64]
            )
    return [(path, OPERATORS[name], wanted) for name, wanted in condition.items()]
