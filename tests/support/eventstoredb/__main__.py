"""The server as a process of its own: says on one line where it listens, and ends on SIGTERM."""

import argparse
import asyncio
import json
import signal
import sys
from dataclasses import fields
from pathlib import Path

from tests.support.eventstoredb.control import control_port
from tests.support.eventstoredb.node import Role
from tests.support.eventstoredb.server import Options, serve


def read_options(arguments: list[str]) -> Options:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.eventstoredb")
    parser.add_argument("--data", type=Path, required=True, help="file that keeps the log")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--remembered-ids", type=int, default=60_000)
    parser.add_argument("--max-append-size", type=int, default=1024 * 1024)
    parser.add_argument("--max-streams", type=int, default=0, help="calls at a time on one connection")
    parser.add_argument("--generation", choices=["23", "24"], default="24")
    parser.add_argument("--role", type=Role, choices=list(Role), default=Role.LEADER)
    parser.add_argument("--leader", type=_address, default=("127.0.0.1", 0), help="HOST:PORT, for another role")
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--cert", type=Path, dest="certificate")
    parser.add_argument("--key", type=Path)
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    given = parser.parse_args(arguments)
    return Options(**{field.name: getattr(given, field.name) for field in fields(Options)})


async def run(options: Options) -> None:
    """Serve until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with serve(options) as stand_in, control_port(stand_in.node) as control:
        print(json.dumps({"port": stand_in.port, "control": control}), flush=True)  # noqa: T201 - how it is found
        await stopping.wait()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    asyncio.run(run(read_options(sys.argv[1:])))
