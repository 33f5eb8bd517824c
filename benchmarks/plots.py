"""Curves, for people: as Markdown with plots that are text, and as data. Pure."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from benchmarks.figures import Spread, spread

_STEPS: Final = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
"""Where an axis may end, times a power of ten."""

_DATA: Final = (
    "point",
    "figure",
    "rounds",
    "median",
    "least",
    "most",
    "beside_smallest",
    "beside_smallest_least",
    "beside_smallest_most",
)


@dataclass(frozen=True, slots=True)
class Figure:
    """Something that is measured at each point.

    Attributes:
        key: in the data.
        title: in the table.
        form: how a value is written.
        compared: whether the table tells how it compares with that of the smallest point.
    """

    key: str
    title: str
    form: str = ",.0f"
    compared: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A plot of one or two figures.

    Attributes:
        title: above it.
        axis: at its left.
        bars: the figure that is drawn as bars.
        line: another one, drawn as a line.
        relative: whether it shows how many times as much as at the smallest point.
    """

    title: str
    axis: str
    bars: Figure
    line: Figure | None = None
    relative: bool = False


@dataclass(frozen=True, slots=True)
class Curve:
    """What was found along one dimension.

    Attributes:
        title: what grows.
        points: how far, the smallest first.
        labels: of the points, for people.
        found: of each figure, round by round, a value for each point.
    """

    title: str
    points: Sequence[int]
    labels: Sequence[str]
    found: Mapping[Figure, Sequence[Sequence[float]]]

    def values(self, figure: Figure, point: int) -> list[float]:
        """Of one figure at one point, round by round."""
        return [one[point] for one in self.found[figure]]

    def beside(self, figure: Figure, point: int) -> list[float]:
        """How many times as much as at the smallest point in the same round; NaN where that is nothing."""
        return [one[point] / one[0] if one[0] else math.nan for one in self.found[figure]]


def data(curve: Curve) -> str:
    """All that was found, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_DATA)
    for index, point in enumerate(curve.points):
        for figure, rounds in curve.found.items():
            spreads = (spread(curve.values(figure, index)), spread(curve.beside(figure, index)))
            writer.writerow((point, figure.key, len(rounds), *(cell for one in spreads for cell in _cells(one))))
    return text.getvalue()


def table(curve: Curve) -> str:
    """The medians, as Markdown."""
    head = [curve.title]
    for figure in curve.found:
        head += [figure.title, f"beside {curve.labels[0]}"] if figure.compared else [figure.title]
    lines = [head]
    for point, label in enumerate(curve.labels):
        lines.append([label])
        for figure in curve.found:
            lines[-1].append(format(median(curve.values(figure, point)), figure.form))
            if figure.compared:
                lines[-1].append(_compared(spread(curve.beside(figure, point))) if point else "")
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join((rows[0], "|---" * len(head) + "|", *rows[1:]))


def chart(curve: Curve, wanted: Chart) -> str:
    """A plot, as Mermaid."""
    bars = _medians(curve, wanted.bars, relative=wanted.relative)
    line = _medians(curve, wanted.line, relative=wanted.relative) if wanted.line else []
    labels = ", ".join(f'"{label}"' for label in curve.labels)
    lines = [
        "```mermaid",
        "xychart-beta",
        f'    title "{wanted.title}"',
        f'    x-axis "{curve.title}" [{labels}]',
        f'    y-axis "{wanted.axis}" 0 --> {_number(_ceiling(max(bars + line)))}',
        f"    bar [{', '.join(map(_number, bars))}]",
    ]
    if line:
        lines.append(f"    line [{', '.join(map(_number, line))}]")
    return "\n".join([*lines, "```"])


def replaced(document: str, name: str, text: str) -> str:
    """The document with this text between the two markers of that name, in place of what stands there.

    Raises:
        ValueError: the markers are not both there once, one behind the other.
    """
    begin, end = f"<!-- curve: {name} -->", f"<!-- end of curve: {name} -->"
    head, _, rest = document.partition(begin)
    _, _, tail = rest.partition(end)
    if document.count(begin) != 1 or document.count(end) != 1 or end not in rest:
        raise ValueError(f"the document must have {begin} once, and behind it {end}")
    return f"{head}{begin}\n{text}\n{end}{tail}"


def _medians(curve: Curve, figure: Figure, *, relative: bool) -> list[float]:
    values = curve.beside if relative else curve.values
    return [median(values(figure, point)) for point in range(len(curve.labels))]


def _compared(ratio: Spread) -> str:
    return f"{ratio.median:.2f} x ({ratio.least:.2f} .. {ratio.most:.2f})"


def _cells(one: Spread) -> Iterator[str]:
    return map(_number, (one.median, one.least, one.most))


def _number(value: float) -> str:
    """Four digits that count, and neither an exponent nor a comma: Mermaid reads none."""
    if not value or not math.isfinite(value):
        return "0" if not value else ""
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def _ceiling(value: float) -> float:
    """Where an axis ends that has to show this value."""
    if value <= 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in _STEPS if step * power >= value), 10 * power)
