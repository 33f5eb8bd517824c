"""``edge-gateway devices``: every device in a line."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.asking import LARGEST_PAGE, add_source, asking, pages
from gateway.cli.exit_status import Exit
from gateway.cli.options import add_projection, json_object
from gateway.cli.output import print_csv, print_json, print_table, shown

if TYPE_CHECKING:
    from gateway.cli.asking import Questions

SUMMARY: Final = "list the devices"

HEADING: Final = ("id", "model", "status", "revision", "alarms", "last seen")


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print JSON, one object a line, with all that is known")
    how.add_argument("--csv", action="store_true", help="print comma-separated values, for a spreadsheet")
    parser.add_argument(
        "--filter", type=json_object, metavar="JSON", help='only those that match: \'{"reported.rpm": {"ge": 900}}\''
    )
    parser.add_argument("--sort", metavar="FIELD", help="by this field; --sort=-FIELD: the other way round")
    add_projection(parser)
    add_source(parser)


def execute(options: Namespace) -> Exit:
    """Print all documents. What it raises: see :func:`~gateway.cli.asking.asking`."""
    return asking(options, _show)


async def _show(questions: "Questions", options: Namespace) -> Exit:
    documents: list[dict[str, Any]] = []
    given = {name: getattr(options, name) for name in ("projection", "filter", "sort")}
    wanted = {name: value for name, value in given.items() if value is not None}
    async for answer in pages(questions, "list", {"limit": LARGEST_PAGE, **wanted}):
        documents += answer.result
    if options.json:
        for document in documents:
            print_json(document)
    else:
        heading, rows = _columns(documents) if options.projection else (HEADING, map(row, documents))
        (print_csv if options.csv else print_table)(heading, rows)
    return Exit.OK


def _columns(documents: Sequence[dict[str, Any]]) -> tuple[Sequence[str], Iterable[Sequence[str]]]:
    """Whatever is in these documents, each field as a column."""
    names = list(dict.fromkeys(["id", *(name for document in documents for name in document)]))
    return names, ([shown(document.get(name)) for name in names] for document in documents)


def row(document: dict[str, Any]) -> Sequence[str]:
    """A device as cells under the heading."""
    status = "degraded" if document["degraded"] else shown(document.get("status"))
    alarms = len(document.get("alarms", ()))
    return (
        document["id"],
        shown(document.get("model")),
        status,
        str(document["revision"]),
        str(alarms),
        shown(document.get("last_seen")),
    )
