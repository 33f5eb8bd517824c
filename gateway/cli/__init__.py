"""The command ``edge-gateway``: one module a subcommand; what a subcommand needs is imported when it runs."""

import os
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from typing import Final, Protocol

from gateway import __version__
from gateway.cli import (
    alarms,
    backup,
    broker_certificate,
    broker_config,
    certificates,
    check_config,
    describe,
    device,
    devices,
    diff,
    doctor,
    enrol,
    history,
    migrate,
    outages,
    outcome,
    rebuild,
    revoke,
    run,
    send,
    state,
    trace,
    verify,
    watch,
)
from gateway.cli.exit_status import Exit, exit_status
from gateway.cli.output import note
from gateway.errors import SettingsError


class Subcommand(Protocol):
    """What a subcommand's module has."""

    @property
    def SUMMARY(self) -> str:  # noqa: N802 - a constant of the module
        """What it does, in a line."""
        ...

    def add_options(self, parser: ArgumentParser) -> None:
        """Tell the parser what may follow its name."""
        ...

    def execute(self, options: Namespace) -> Exit:
        """Do it. What it raises becomes an exit status."""
        ...


SUBCOMMANDS: Final[Mapping[str, Subcommand]] = {
    "run": run,
    "check-config": check_config,
    "send": send,
    "devices": devices,
    "device": device,
    "history": history,
    "state": state,
    "diff": diff,
    "alarms": alarms,
    "watch": watch,
    "outcome": outcome,
    "trace": trace,
    "outages": outages,
    "rebuild": rebuild,
    "verify": verify,
    "describe": describe,
    "migrate": migrate,
    "backup": backup,
    "doctor": doctor,
    "broker-config": broker_config,
    "broker-certificate": broker_certificate,
    "enrol": enrol,
    "revoke": revoke,
    "certificates": certificates,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default those of the process; its exit status."""
    if isinstance(sys.stdout, TextIOWrapper):
        # a locale that lacks a character is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = _parser()
    options = parser.parse_args(argv)
    if options.subcommand is None:
        parser.print_help(sys.stderr)
        return Exit.USAGE
    try:
        status = SUBCOMMANDS[options.subcommand].execute(options)
        # now, while a pipe that is closed can still be told from a fault
        print(end="", flush=True)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one place where errors become exit statuses
        return _explain(error)
    return status


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="edge-gateway",
        description="Run an MQTT-native edge gateway, send it commands, and look at what it keeps, running or not.",
    )
    parser.add_argument("--version", action="version", version=f"edge-gateway {__version__}")
    subparsers = parser.add_subparsers(title="subcommands", dest="subcommand", metavar="SUBCOMMAND")
    for name, subcommand in SUBCOMMANDS.items():
        subcommand.add_options(
            subparsers.add_parser(name, help=subcommand.SUMMARY, description=f"{subcommand.SUMMARY.capitalize()}.")
        )
    return parser


def _explain(error: BaseException) -> Exit:
    # what fails inside a task group comes wrapped
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    status = exit_status(error)
    if status is Exit.BUG:
        traceback.print_exception(error)
        note("edge-gateway: this is a fault of the gateway, please report it")
    elif status is Exit.PIPE_CLOSED:
        # Python flushes once more at its end, and would complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    elif isinstance(error, SettingsError):
        note(str(error))
    elif status is not Exit.INTERRUPTED:
        note(f"edge-gateway: {error}")
    return status
