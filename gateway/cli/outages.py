"""``edge-gateway outages``: what the gateway went through."""

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.asking import LARGEST_PAGE, add_source, asking, pages
from gateway.cli.exit_status import Exit
from gateway.cli.options import add_json, at_least
from gateway.cli.output import moment, print_json, print_table, shown
from gateway.errors import NotFound

if TYPE_CHECKING:
    from gateway.cli.asking import Questions

Line = dict[str, Any]

SUMMARY: Final = "list what was away or lost, when, and what it may have cost"

_COLUMNS: Final = ("began_at", "ended_at", "kind", "times", "cause", "affected", "acknowledged_by", "outage")
_NOBODY: Final[Line] = {"acknowledged_by": None, "acknowledged_at": None, "note": None}


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.add_argument("--limit", type=at_least(1), metavar="N", help="only the newest so many (default: all)")
    parser.add_argument("--open", action="store_true", help="only what goes on or is not acknowledged")
    add_json(parser)
    add_source(parser)


def execute(options: Namespace) -> Exit:
    """Print the ledger, oldest first. What it raises: see :func:`~gateway.cli.asking.asking`."""
    return asking(options, _show)


async def _show(questions: "Questions", options: Namespace) -> Exit:
    ledger = (await questions.ask("outages", {})).result
    lines = await _recorded(questions, ledger["gateway"])
    # what was recorded since the first question stands in both
    lines |= {one["id"]: _pending(one) for one in ledger["pending"] if one["id"] not in lines}
    wanted = [line for line in lines.values() if _is_open(line) or not options.open]
    wanted = wanted[-options.limit :] if options.limit else wanted
    if options.json:
        for line in wanted:
            print_json(line)
    else:
        heading = [column.replace("_", " ") for column in _COLUMNS]
        print_table(heading, [[shown(line[column]) for column in _COLUMNS] for line in wanted])
    return Exit.OK


async def _recorded(questions: "Questions", gateway: str) -> dict[str, Line]:
    from gateway.domain.outages import OutageAcknowledged, OutageRecorded

    lines: dict[str, Line] = {}
    async for event in _events(questions, gateway, [OutageRecorded.__name__, OutageAcknowledged.__name__]):
        if event["type"] == OutageRecorded.__name__:
            recorded = OutageRecorded.model_validate(event["data"])
            lines[recorded.outage] = {**recorded.model_dump(exclude={"at"}), **_NOBODY}
        else:
            known = OutageAcknowledged.model_validate(event["data"])
            # those that the ledger did not show any more are acknowledged together with all that wait
            concerned = [outage for outage, line in lines.items() if _is_open(line)] if known.older else [known.outage]
            for outage in concerned:
                if outage in lines:
                    lines[outage] |= {"acknowledged_by": known.by, "acknowledged_at": known.at, "note": known.note}
    return lines


async def _events(questions: "Questions", gateway: str, types: list[str]) -> AsyncIterator[dict[str, Any]]:
    try:
        async for answer in pages(questions, "history", {"device": gateway, "types": types, "limit": LARGEST_PAGE}):
            for event in answer.result:
                yield event
    except NotFound:
        # it went through nothing yet
        return


def _pending(outage: Line) -> Line:
    others = {name: value for name, value in outage.items() if name != "id"}
    times = {name: moment(outage[name]) for name in ("began_at", "ended_at")}
    return {"outage": outage["id"], **others, **times, **_NOBODY}


def _is_open(line: Line) -> bool:
    from gateway.domain.outages import TO_ACKNOWLEDGE

    return line["ended_at"] is None or (line["kind"] in TO_ACKNOWLEDGE and line["acknowledged_by"] is None)
