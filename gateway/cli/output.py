"""What the command prints: data on standard output, notes on standard error, no colours, nothing a terminal obeys."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

Fields = Mapping[str, Any]
"""A JSON object to print; times may stand in it as they are."""

_NOTHING: Final = "-"


def note(text: str) -> None:
    """Tell the user something that is no data."""
    print("\n".join(map(escaped, text.splitlines())), file=sys.stderr)


def print_json(fields: Fields) -> None:
    """One JSON object on one line."""
    # JSON lets DEL stand as it is, and escapes every other control character
    print(json.dumps(fields, default=_text).replace("\x7f", "\\u007f"))


def print_fields(fields: Fields) -> None:
    """One object as aligned lines, each with the dotted path of a value."""
    print_table((), [(path, shown(value)) for path, value in _leaves(fields, "")])


def print_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Aligned columns; the cells are made safe for a terminal."""
    for line in table_lines(heading, rows):
        print(line)


def table_lines(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of :func:`print_table`."""
    lines = [[escaped(cell) for cell in row] for row in (heading, *rows) if row]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def print_csv(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Comma-separated values (RFC 4180), ``-`` for nothing left out."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([name.replace(" ", "_") for name in heading])
    writer.writerows([("" if cell == _NOTHING else escaped(cell)) for cell in row] for row in rows)


def moment(text: str | None) -> datetime | None:
    """A time of an answer as one that is shown to the millisecond."""
    return datetime.fromisoformat(text) if text is not None else None


def shown(value: object) -> str:
    """A value for people: text as it is, times to the millisecond, ``-`` for nothing, anything else as JSON."""
    match value:
        case None:
            return _NOTHING
        case str():
            return value
        case datetime():
            return _time(value, "milliseconds")
        case _:
            return json.dumps(value, ensure_ascii=False, default=_text)


def escaped(text: str) -> str:
    """The text with every character that is not printable written as an escape sequence."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _leaves(fields: Fields, prefix: str) -> Iterable[tuple[str, object]]:
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _text(value: object) -> str:
    match value:
        case datetime():
            return _time(value)
        case UUID():
            return str(value)
        case _:
            raise TypeError(f"{type(value).__name__} is not for printing")


def _time(value: datetime, precision: str = "auto") -> str:
    return value.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")
