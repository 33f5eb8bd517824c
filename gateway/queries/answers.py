"""What a query is answered with: a result and where it goes on, bounded in size."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import JsonValue

from gateway.queries.turns import Turn

MAX_BYTES: Final = 128 * 1024
"""Of the items of one answer; a page ends before it gets larger, but has at least one item."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was found.

    Attributes:
        value: whatever orjson can write.
        next: the parameters to be changed for the next page; ``None`` behind the last one.
    """

    value: Any
    next: dict[str, JsonValue] | None = None


def encode(value: Any) -> orjson.Fragment:  # noqa: ANN401 - whatever orjson can write
    """A value in its final form, so that its size is known."""
    return orjson.Fragment(orjson.dumps(value, option=orjson.OPT_UTC_Z))


async def fitting(
    turn: Turn, items: Iterable[tuple[Any, JsonValue]], limit: int
) -> tuple[list[orjson.Fragment], JsonValue]:
    """As many items as fit into an answer.

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
        size += len(encoded)
        if len(page) == limit or (page and size > MAX_BYTES):
            return page, place
        page.append(orjson.Fragment(encoded))
        place = behind
        await turn.pause()
    return page, None
