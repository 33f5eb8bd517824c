"""What the demo plays on: a broker and a gateway of its own, and a technician who speaks MQTT."""
# ruff: noqa: INP001, S603 - scripts are no package, and this one starts programs

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from aiomqtt import Client, ProtocolVersion

REPOSITORY: Final = Path(__file__).resolve().parents[1]
ROOT: Final = "edge/gw1"
PATIENCE: Final = 15.0
AGAIN_AFTER: Final = 2.0

Body = dict[str, Any]


class Gateway:
    """The gateway as a process, on a state directory that outlives it."""

    def __init__(self, directory: Path, port: int) -> None:
        self.cache = directory / "state" / "readmodel.json"
        self._config = directory / "gateway.toml"
        self._log = directory / "gateway.log"
        self._config.write_text(
            f'[gateway]\nid = "gw1"\nstate_dir = "{directory / "state"}"\n\n'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\nwill_delay = 0\n\n'
            f'[log]\nformat = "json"\n\n'
            f'[[operators]]\nactors = ["alice"]\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it tells the broker when it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command("run"), cwd=REPOSITORY, stdout=log, stderr=log)

    def end(self, number: int) -> int | None:
        """Send it a signal; returns its exit status, ``None`` if it did not run."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(number)
        return process.wait(PATIENCE)

    def ask(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run another subcommand of the command line."""
        return subprocess.run(self._command(*arguments), cwd=REPOSITORY, capture_output=True, text=True, check=False)

    def log_tail(self) -> str:
        """The end of its log, for when something went wrong."""
        return self._log.read_text(errors="replace")[-3_000:] if self._log.exists() else "the gateway never started"

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "gateway", *arguments, "--config", str(self._config)]


class Technician:
    """Speaks MQTT and nothing else; repeats a command until it is acknowledged."""

    def __init__(self, client: Client) -> None:
        self.acks: dict[str, list[Body]] = {}
        self.latest: dict[str, Body] = {}
        self._client = client
        self._news = asyncio.Event()

    async def listen(self) -> None:
        """Take what comes, for ever."""
        async for message in self._client.messages:
            topic = message.topic.value.removeprefix(f"{ROOT}/")
            body = json.loads(message.payload) if message.payload else {}
            self.latest[topic] = body
            if topic.startswith("ack/"):
                self.acks.setdefault(body["command_id"], []).append(body)
            self._news.set()

    async def until(self, holds: Callable[[], bool], patience: float = PATIENCE) -> bool:
        """Whether this came to hold in time; looked at after each message."""
        try:
            async with asyncio.timeout(patience):
                while not holds():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def publish(self, who: str, device: str, command: str, data: Body, command_id: str) -> None:
        """One copy of a command."""
        body = json.dumps({"command_id": command_id, "data": data})
        await self._client.publish(f"{ROOT}/cmd/{who}/{device}/{command}", body, qos=1)

    async def send(self, who: str, device: str, command: str, data: Body, command_id: str) -> Body:
        """The newest acknowledgement of a command, which is repeated until there is one."""
        seen = len(self.acks.get(command_id, ()))
        for _ in range(int(PATIENCE / AGAIN_AFTER)):
            await self.publish(who, device, command, data, command_id)
            if await self.until(lambda: len(self.acks.get(command_id, ())) > seen, AGAIN_AFTER):
                return self.acks[command_id][-1]
        raise TimeoutError(f"no acknowledgement of {command_id}")


@asynccontextmanager
async def technician(port: int) -> AsyncIterator[Technician]:
    """A technician connected to the broker, who sees everything but the commands."""
    # small packets wait 40 ms for company otherwise
    nodelay = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    async with Client("127.0.0.1", port, protocol=ProtocolVersion.V5, socket_options=nodelay) as client:
        client.pending_calls_threshold = 1_000
        for pattern in ("ack/#", "state/+", "config/+", "gateway/+"):
            await client.subscribe(f"{ROOT}/{pattern}", qos=1)
        tech = Technician(client)
        listening = asyncio.create_task(tech.listen(), name="technician")
        try:
            yield tech
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


@contextmanager
def broker(directory: Path) -> Iterator[int]:
    """A mosquitto of our own on a free loopback port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    config = directory / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 10000\n"
    )
    # Debian keeps it where only root's path looks
    mosquitto = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if mosquitto is None:
        raise SystemExit("mosquitto is not installed")
    with (directory / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([mosquitto, "-c", str(config)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)
