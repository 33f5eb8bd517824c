"""JSON Patch (RFC 6902) from the other side: as a client applies it."""

from typing import Any

from pydantic import JsonValue

Operation = dict[str, JsonValue]


def apply_patch(document: JsonValue, patch: list[Operation]) -> JsonValue:
    """The document after these operations, as :func:`make_patch` makes them; the given one stays as it is.

    Raises:
        KeyError: the patch was made for another document.
    """
    for operation in patch:
        path = str(operation["path"])
        if not path:
            document = operation["value"]
            continue
        keys = [key.replace("~1", "/").replace("~0", "~") for key in path.split("/")[1:]]
        document = _changed(document, keys, operation)
    return document


def _changed(document: Any, keys: list[str], operation: Operation) -> JsonValue:
    key, *below = keys
    if below:
        return {**document, key: _changed(document[key], below, operation)}
    if operation["op"] == "remove":
        document[key]
        return {other: value for other, value in document.items() if other != key}
    if (operation["op"] == "replace") != (key in document):
        raise KeyError(key)
    return {**document, key: operation["value"]}
