"""``edge-gateway verify``: is the read cache what the log says?"""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from typing import Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config, add_json
from gateway.cli.output import note, print_json, print_table, shown

SUMMARY: Final = "compare the file of the read cache with the log"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    add_config(parser)
    add_json(parser)


def execute(options: Namespace) -> Exit:
    """Fold the log from its first event to the checkpoint, and print each difference.

    Raises:
        SettingsError: the settings cannot be used.
        StateError: there is no log, or it cannot be read.
    """
    import asyncio

    return asyncio.run(_verify(options))


async def _verify(options: Namespace) -> Exit:
    from gateway.adapters.tinydb_cache import UnusableCacheError
    from gateway.cli.read_side import open_read_side
    from gateway.verify import differences

    async with open_read_side(options.config) as side:
        try:
            found = await side.filed_cache()
        except UnusableCacheError as error:
            note(f"the read cache cannot be used: {error}")
            return Exit.NO
        expected = await side.empty_cache()
        await side.fold(expected, found.position)
    differing = [asdict(difference) for difference in differences(expected.tables(), found.tables())]
    if options.json:
        for difference in differing:
            print_json(difference)
    elif differing:
        print_table(list(differing[0]), [list(map(shown, difference.values())) for difference in differing])
    note(f"{len(differing)} differences between the read cache at position {found.position} and the log")
    return Exit.NO if differing else Exit.OK
