"""What was measured, for people: as Markdown, so that it can go into a document as it is. Pure."""

from collections.abc import Sequence
from statistics import median
from typing import Final

from benchmarks.contenders.names import GATEWAY
from benchmarks.figures import Turn, spread
from benchmarks.targets import SATURATED, Judged, Key, Round

_HEAD: Final = (
    "| Contender | Load | commands/s | p50 ms | p99 ms | p99.9 ms | CPU µs/command | RSS MiB | broker | generator |",
    "|---|---|---|---|---|---|---|---|---|---|",
)
_RATIOS: Final = (
    "| saturated, beside the gateway | commands/s | least .. most | CPU/command | least .. most |",
    "|---|---|---|---|---|",
)
_TARGETS: Final = ("| Target | | measured | least .. most | |", "|---|---|---|---|---|")


def turns(rounds: Sequence[Round]) -> str:
    """Each contender under each load: the medians over all rounds."""
    lines = [_line(key, [one[key] for one in rounds]) for key in rounds[0]]
    return "\n".join((*_HEAD, *lines))


def ratios(rounds: Sequence[Round]) -> str:
    """How each contender compares with the gateway, round by round."""
    lines = []
    for contender, load in rounds[0]:
        if load == SATURATED and contender != GATEWAY:
            pairs = [(one[contender, load], one[GATEWAY, load]) for one in rounds]
            rate = _spread([other.rate / ours.rate for other, ours in pairs])
            cpu = _spread([other.cpu_us / ours.cpu_us for other, ours in pairs])
            lines.append(f"| {contender} | {rate} | {cpu} |")
    return "\n".join((*_RATIOS, *lines))


def verdicts(judged: Sequence[Judged]) -> str:
    """Each target beside what was measured."""
    return "\n".join((*_TARGETS, *map(_verdict, judged)))


def _spread(values: Sequence[float]) -> str:
    found = spread(values)
    return f"{found.median:.2f} x | {found.least:.2f} .. {found.most:.2f}"


def _verdict(one: Judged) -> str:
    target, measured = one.target, one.measured
    sign = "≥" if target.at_least else "≤"
    word = "reached" if one.reached else "**collapsed**" if one.collapsed else "missed"
    found = f"{measured.median:.2f} {target.unit} | {measured.least:.2f} .. {measured.most:.2f}"
    return f"| {target.name} | {sign} {target.limit:g} {target.unit} | {found} | {word} |"


def _line(key: Key, found: Sequence[Turn]) -> str:
    def of(figures: Sequence[float], digits: int = 0) -> str:
        return f"{median(figures):,.{digits}f}"

    cells = (
        *key,
        of([one.rate for one in found]),
        of([one.p50 for one in found], 2),
        of([one.p99 for one in found], 2),
        of([one.p999 for one in found], 2),
        of([one.cpu_us for one in found]),
        of([one.rss_mib for one in found]),
        f"{median([one.broker for one in found]):.0%}",
        f"{median([one.generator for one in found]):.0%}",
    )
    return f"| {' | '.join(cells)} |"
