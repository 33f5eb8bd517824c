import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.gateway_process import REPOSITORY, GatewayProcess
from tests.support.site import Site
from tests.support.technician import PATIENCE, Technician

REMOTE = ("--remote", "--actor", "alice")


class Screen:
    """A terminal, and all that was written to it."""

    def __init__(self, descriptor: int) -> None:
        self.written = ""
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    async def until(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while text not in self.written:
                try:
                    self.written += os.read(self._descriptor, 65_536).decode()
                except (BlockingIOError, OSError):
                    await asyncio.sleep(0.02)


@contextmanager
def terminal() -> Iterator[tuple[int, Screen]]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    try:
        yield theirs, Screen(ours)
    finally:
        os.close(ours)
        os.close(theirs)


async def test_devices_and_events_appear_until_it_is_interrupted(
    shared_site: Site, tech: Technician, online: str
) -> None:
    with terminal() as (theirs, screen):
        command = shared_site.gateway._command("watch", *REMOTE)
        process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=theirs)
        try:
            await screen.until(online)
            await tech.send(online, online, "report", {"properties": {"seen_on_the_screen": True}})
            await screen.until("seen_on_the_screen")
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
            # what was on the terminal before is there again
            await screen.until("\x1b[?25h\x1b[?1049l")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_an_operator_of_some_devices_sees_those(shared_site: Site, tech: Technician, device: str) -> None:
    valve = f"valve-{device}"
    await tech.send(valve, valve, "register", {"model": "T-1000"}, wait_for="projected")
    with terminal() as (theirs, screen):
        command = shared_site.gateway._command("watch", "--remote", "--actor", "olga")
        process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=theirs)
        try:
            await screen.until(valve)
            await tech.send(valve, valve, "report", {"properties": {"of_olga": True}})
            await screen.until('"of_olga"')
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.mark.parametrize(("arguments", "told"), [((), "add --remote"), (REMOTE, "needs a terminal")])
def test_without_a_gateway_to_ask_or_a_terminal_it_says_what_to_do(
    shared_site: Site, arguments: tuple[str, ...], told: str
) -> None:
    gateway: GatewayProcess = shared_site.gateway
    ran = gateway.run("watch", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert told in ran.stderr
