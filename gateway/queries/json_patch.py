"""What leads from one JSON document to another, as JSON Patch (RFC 6902) with add, remove and replace. Pure."""

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

Operation = dict[str, JsonValue]


def make_patch(before: JsonValue, after: JsonValue) -> list[Operation]:
    """The operations that make ``after`` of ``before``; an array that differs is replaced as a whole."""
    return list(_operations(before, after, ""))


def _operations(before: JsonValue, after: JsonValue, path: str) -> Iterator[Operation]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() - after.keys():
            yield {"op": "remove", "path": _below(path, key)}
        for key, value in after.items():
            if key in before:
                yield from _operations(before[key], value, _below(path, key))
            else:
                yield {"op": "add", "path": _below(path, key), "value": value}
    elif not _same(before, after):
        yield {"op": "replace", "path": path, "value": after}


def _below(path: str, key: str) -> str:
    return f"{path}/{key.replace('~', '~0').replace('/', '~1')}"


def _same(one: JsonValue, other: JsonValue) -> bool:
    """Equal as JSON: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return one == other
