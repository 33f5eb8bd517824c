"""The guide to the broker, command by command, as an administrator types it."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import REPOSITORY
from tests.support.production_site import PATIENCE, ProductionSite

# none of it depends on where the events are
pytestmark = pytest.mark.embedded

GUIDE = (REPOSITORY / "docs" / "broker.md").read_text()
SETTINGS = re.compile(r"```toml\n(.*?)```", re.DOTALL)
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
SUBCOMMAND = re.compile(r"^edge-gateway (\S+)", re.MULTILINE)


class Administrator:
    """Types what is in the guide on a machine whose directories are elsewhere."""

    def __init__(self, site: ProductionSite, socket_directory: str) -> None:
        self._site = site
        self._asked = site.top / "asked"
        self._directory = site.top / "typed"
        self._directory.mkdir()
        for program in ("systemctl", "systemd-tmpfiles"):
            stub = site.top / "bin" / program
            stub.parent.mkdir(exist_ok=True)
            stub.write_text(f'#!/bin/sh\necho {program} "$@" >> {self._asked}\n')
            stub.chmod(0o755)
        self._elsewhere = {
            "/run/edge-gateway-mqtt": socket_directory,
            "/etc/tmpfiles.d": str(site.top),
            "gw1.lan": "127.0.0.1",
            "8883": str(site.devices_port),
        }

    def settings(self) -> str:
        """Those of the guide."""
        (block,) = SETTINGS.findall(GUIDE)
        return self._moved(block)

    def types(self, block: str) -> str:
        """Run one block; what it prints."""
        path = f"{self._site.top / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-ec", SUBCOMMAND.sub(self._gateway, self._moved(block))],
            cwd=self._directory,
            env={**os.environ, "PATH": path, "GATEWAY_CONFIG": str(self._site.gateway.config)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        self._obey()
        return done.stdout

    def admitted(self, certificate: str, key: str) -> bool:
        """Whether the broker takes what was made."""
        return self._site.admits(self._directory / certificate, self._directory / key)

    def _moved(self, text: str) -> str:
        for here, there in self._elsewhere.items():
            text = text.replace(here, there)
        return text

    def _gateway(self, match: "re.Match[str]") -> str:
        authority, mosquitto = f"--ca {self._site.authority}", f"--mosquitto {self._site.mosquitto}"
        devices = f"--devices-address 127.0.0.1 --devices-port {self._site.devices_port}"
        options = {
            "broker-config": f"{mosquitto} {devices}",
            "broker-certificate": f"{authority} {mosquitto}",
            "enrol": authority,
            "certificates": f"{authority} {mosquitto}",
            "revoke": f"{authority} {mosquitto}",
        }
        return f"{shlex.quote(sys.executable)} -m gateway {match[1]} {options.get(match[1], '')}"

    def _obey(self) -> None:
        """Do what systemd was asked to do."""
        asked = self._asked.read_text().splitlines() if self._asked.exists() else []
        self._asked.unlink(missing_ok=True)
        for line in asked:
            match line.split():
                case ["systemctl", "restart", "mosquitto"]:
                    self._site.broker.stop()
                    self._site.broker.start()
                case ["systemctl", "restart", "edge-gateway"]:
                    self._site.start_gateway()
                case ["systemctl", "reload", "mosquitto"]:
                    self._site.broker.reload()


@pytest.fixture
def administrator(tmp_path: Path) -> Iterator[Administrator]:
    with tempfile.TemporaryDirectory(prefix="mqtt-") as sockets:
        site = ProductionSite(tmp_path, Path(sockets), {})
        one = Administrator(site, sockets)
        site.prepare(one.settings())
        try:
            yield one
        finally:
            site.gateway.close()
            site.broker.stop()


def test_the_guide_works_as_it_is_written(administrator: Administrator) -> None:
    printed = [administrator.types(block) for block in BLOCK.findall(GUIDE)]
    assert '"code":201' in "".join(printed)
    assert "Mill" in "".join(printed)
    assert "pump-8" in "".join(printed)
    assert administrator.admitted("pump-8/cert.pem", "pump-8.key")
    deadline = time.monotonic() + PATIENCE
    while administrator.admitted("pump-7/cert.pem", "pump-7/key.pem"):
        assert time.monotonic() < deadline, "what was revoked is let in still"
