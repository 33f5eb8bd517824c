"""What a query is answered with: a result and where it goes on, bounded in size."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import JsonValue

from gateway.errors import TooLarge
from gateway.queries.turns import Turn

MAX_BYTES: Final = 128 * 1024
"""Of the items of one answer; a page ends before it gets larger, but has at least one item, shortened if it must be."""

ANSWER_TOO_LARGE: Final = "answer-too-large"
"""Unlike a query that is too large, it is no fault of whoever asks."""

MARGIN: Final = 2 * 1024
"""What may stand around the items of a page."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was found.

    Attributes:
        value: whatever orjson can write.
        next: the parameters to be changed for the next page; ``None`` behind the last one.
    """

    value: Any
    next: dict[str, JsonValue] | None = None


def bounded(found: Result) -> Result:
    """What was found in its final form, if an answer has room for it.

    Raises:
        TooLarge: it has not.
    """
    encoded = orjson.dumps(found.value, option=orjson.OPT_UTC_Z)
    if len(encoded) > MAX_BYTES + MARGIN:
        raise TooLarge(
            f"the answer would have {len(encoded)} bytes, of {MAX_BYTES} at most: ask for some fields, or for less",
            type=ANSWER_TOO_LARGE,
        )
    return Result(orjson.Fragment(encoded), found.next)


async def fitting(
    turn: Turn, items: Iterable[tuple[Any, JsonValue]], limit: int
) -> tuple[list[orjson.Fragment], JsonValue]:
    """As many items as fit into an answer.

    An item that is too large for any answer is told without its largest fields: whoever goes through all of them must
    get past it.

    Args:
        turn: of the query.
        items: each with the place to go on behind it.
        limit: at most so many.

    Returns:
        The items, and the place behind the last one if there are more; ``None`` if there are not.
    """
    page: list[orjson.Fragment] = []
    size, place = 0, None
    for item, behind in items:
        encoded = orjson.dumps(item, option=orjson.OPT_UTC_Z)
        if len(encoded) > MAX_BYTES:
            encoded = _shortened(item)
        size += len(encoded)
        if len(page) == limit or (page and size > MAX_BYTES):
            return page, place
        page.append(orjson.Fragment(encoded))
        place = behind
        await turn.pause()
    return page, None


def _shortened(item: Mapping[str, Any]) -> bytes:
    """An item without its largest fields, and with their names in place of them."""
    pieces = {name: orjson.dumps(value, option=orjson.OPT_UTC_Z) for name, value in item.items()}
    room = MAX_BYTES - sum(len(piece) for piece in pieces.values())
    omitted = []
    for name in sorted(pieces.keys() - {"id"}, key=lambda name: len(pieces[name]), reverse=True):
        if room >= 0:
            break
        room += len(pieces.pop(name))
        omitted.append(name)
    kept = {name: orjson.Fragment(piece) for name, piece in pieces.items()}
    return orjson.dumps({**kept, "omitted": sorted(omitted)})
