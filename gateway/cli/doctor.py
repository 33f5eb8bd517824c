"""``edge-gateway doctor``: is everything around the gateway as it should be?"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_authority, add_config, add_json, add_mosquitto, within
from gateway.cli.output import escaped, note, print_json

if TYPE_CHECKING:
    from gateway.doctor.findings import Finding
    from gateway.settings_loader import Loaded

SUMMARY: Final = "check broker, store, disk, clock and certificates, and say what to do"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.epilog = "Exit status: 0 where nothing failed, 1 where something did, 78 where the settings are wrong."
    add_config(parser)
    add_mosquitto(parser)
    add_authority(parser)
    parser.add_argument(
        "--device",
        type=Path,
        metavar="PATH",
        help="directory that enrol has made for a device named doctor: try to forge as this device, too",
    )
    parser.add_argument(
        "--devices-host", default="localhost", metavar="HOST", help="where devices connect (default: %(default)s)"
    )
    parser.add_argument(
        "--devices-port", type=within(1, 65_535), default=8883, metavar="N", help="(default: %(default)s)"
    )
    add_json(parser)
    parser.add_argument("--quiet", action="store_true", help="only what is not right, as for cron")


def execute(options: Namespace) -> Exit:
    """Make every check, and print each finding as soon as it is there.

    Raises:
        SettingsError: the settings cannot be used: nothing can be checked with them.
    """
    from gateway.doctor.findings import Level
    from gateway.settings_loader import load_settings

    counts = dict.fromkeys(Level, 0)
    for group, finding in _findings(load_settings(options.config), options):
        counts[finding.level] += 1
        if options.quiet and finding.level in {Level.OK, Level.SKIPPED}:
            continue
        if options.json:
            print_json(
                {"check": group, "level": finding.level, "detail": finding.detail, "remedy": finding.remedy or None}
            )
        else:
            print(escaped(f"{finding.level:8}{group}: {finding.detail}"))
            if finding.remedy:
                print(escaped(f"{'':8}-> {finding.remedy}"), flush=True)
    if not options.quiet:
        note(", ".join(f"{count} {level}" for level, count in counts.items()))
    return Exit.NO if counts[Level.FAILED] else Exit.OK


def _findings(loaded: "Loaded", options: Namespace) -> "Iterator[tuple[str, Finding]]":
    from gateway.broker_drop_in import BrokerPlaces
    from gateway.doctor import Check, examine
    from gateway.doctor.broker_files import check_broker_files
    from gateway.doctor.device import check_as_device
    from gateway.doctor.findings import fine, warning

    if not loaded.warnings:
        yield "settings", fine("they are right")
    for told in loaded.warnings:
        yield "settings", warning(told, "see config/gateway.toml")
    places = BrokerPlaces(options.mosquitto)
    besides: dict[str, Check] = {"broker's files": lambda _: check_broker_files(places, options.ca)}
    if options.device is not None:
        host, port = options.devices_host, options.devices_port
        besides["device"] = lambda settings: check_as_device(options.device, host, port, settings.root)
    yield from examine(loaded.settings, besides)
