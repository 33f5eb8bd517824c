"""``edge-gateway watch``: the devices that change, and what happens, for as long as one looks."""

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.asking import LARGEST_PAGE, add_source, asking, is_remote
from gateway.cli.exit_status import Exit
from gateway.cli.output import note
from gateway.cli.watch_view import View, frame
from gateway.errors import NotPermitted

if TYPE_CHECKING:
    from gateway.cli.asking import Questions

SUMMARY: Final = "watch the devices and what happens, in the terminal"

_PAUSE: Final = 0.5
"""Seconds between two frames: nobody reads faster, and the gateway has other things to do."""

_WAIT_MS: Final = 2_000
_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME, _END_OF_LINE, _END_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    add_source(parser)


def execute(options: Namespace) -> Exit:
    """Show frame after frame until interrupted. What it raises: see :func:`~gateway.cli.asking.asking`."""
    if not is_remote(options):
        note("edge-gateway: watch asks the running gateway: add --remote, or name a broker")
        return Exit.USAGE
    if not sys.stdout.isatty():
        note("edge-gateway: watch needs a terminal; for a pipe there is history --follow")
        return Exit.USAGE
    with _screen():
        return asking(options, _show)


async def _show(questions: "Questions", _options: Namespace) -> Exit:
    import asyncio

    view = View()
    place: int | None = None
    while True:
        size = os.get_terminal_size()
        newest: list[dict[str, Any]] = (
            await questions.ask("list", {"sort": "-position", "limit": min(size.lines, LARGEST_PAGE)})
        ).result
        view.devices = newest
        if view.counts is not None:
            view.counts = await _counts(questions)
        _draw(frame(view, size, time.monotonic()))
        await asyncio.sleep(_PAUSE)
        if place is None:
            place = newest[0]["position"] if newest else 0
        answer = await questions.ask("feed", {"after": place, "limit": LARGEST_PAGE, "wait_ms": _WAIT_MS})
        view.take(answer.result, time.monotonic())
        place = answer.next["after"] if answer.next else place


async def _counts(questions: "Questions") -> Mapping[str, int] | None:
    """How many devices have each status; ``None`` for an operator of some devices, who may not know of all."""
    try:
        answer = await questions.ask("summary", {})
    except NotPermitted:
        return None
    found: Mapping[str, int] = answer.result.get("devices", {}).get("status", {})
    return found


def _draw(lines: list[str]) -> None:
    sys.stdout.write(_HOME + "".join(f"{line}{_END_OF_LINE}\r\n" for line in lines[:-1]))
    sys.stdout.write(f"{lines[-1]}{_END_OF_LINE}{_END_OF_SCREEN}")
    sys.stdout.flush()


@contextmanager
def _screen() -> Iterator[None]:
    """A screen of its own; what was there before comes back."""
    sys.stdout.write(_ENTER)
    try:
        yield
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
