"""A gateway and a broker with exactly the files that ``edge-gateway broker-config`` and its kin write."""

import socket
import sqlite3
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from aiomqtt import Client, ProtocolVersion

from gateway.adapters.authority_dir import AuthorityDir, pem, pem_of_key
from gateway.certificates import issue_for_device, new_key
from gateway.cli import main
from tests.support.broker import Broker, free_port
from tests.support.gateway_process import STARTING, GatewayProcess, Sections
from tests.support.technician import Technician, technician_at

PATIENCE: Final = 20.0
PASSWORD: Final = "correct-horse-battery"
CONNECT: Final = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x"
ACCEPTED: Final = b"\x20\x02\x00\x00"
PEOPLE: Final = ("_gateway", "_metrics", "alice", "bob", "homeassistant")
OPERATORS: Final = """
[[operators]]
actors = ["alice", "operator-*"]

[[operators]]
actors = ["bob"]
devices = ["pump-7"]
"""

# that of Debian, with other places, and with root's rights where root runs the tests
_MAIN: Final = """
pid_file {top}/mosquitto.pid
persistence true
persistence_location {top}/store/
log_dest stderr
include_dir {top}/etc/conf.d
user root
"""


class ProductionSite:
    """Devices connect with certificates, people on this machine with passwords, and the gateway over a socket.

    Attributes:
        devices_port: where certificates are asked for.
        socket: the gateway's own way in.
        authority: who signs.
    """

    def __init__(self, top: Path, sockets: Path, sections: Sections) -> None:
        self.top = top
        self.broker = Broker(top / "broker")
        self.mosquitto = top / "broker" / "etc"
        self.authority = top / "ca"
        self.socket = sockets / "mqtt.sock"
        self.devices_port = free_port()
        own = {"socket": str(self.socket), "username": "_gateway", "password": PASSWORD}
        self._starts = 0
        self.gateway = GatewayProcess(top / "gateway", self.broker.port, {**sections, "mqtt": own})

    def set_up(self, settings: str = OPERATORS) -> None:
        """What an administrator does before the first start.

        Args:
            settings: of the gateway, besides.
        """
        self.prepare(settings)
        self.run("broker-certificate", "127.0.0.1", "--ca", self.authority, "--mosquitto", self.mosquitto)
        devices = ("--devices-address", "127.0.0.1", "--devices-port", self.devices_port)
        self.run("broker-config", "--write", "--mosquitto", self.mosquitto, "--operator", "operator-1", *devices)

    def prepare(self, settings: str) -> None:
        """What an administrator does by hand: settings and passwords."""
        beside = self.gateway.config.with_name("conf.d") / "site.toml"
        beside.parent.mkdir()
        beside.write_text(settings)
        self.mosquitto.mkdir()
        passwords = self.mosquitto / "edge-gateway.passwd"
        passwords.touch(mode=0o600)
        for user in PEOPLE:
            subprocess.run(["mosquitto_passwd", "-b", passwords, user, PASSWORD], check=True, capture_output=True)
        self.broker.configure(_MAIN.format(top=self.top / "broker"))
        (self.mosquitto / "conf.d").mkdir()

    def start(self) -> None:
        """Both."""
        self.broker.start()
        self.start_gateway()

    def start_gateway(self) -> None:
        """Returns when it is connected."""
        self.gateway.launch()
        self._starts += 1
        deadline = time.monotonic() + STARTING
        while len(self.gateway.log("link_connected")) < self._starts:
            assert time.monotonic() < deadline, "the gateway does not connect"
            time.sleep(0.02)

    def run(self, *arguments: object) -> None:
        """Run a subcommand with the gateway's settings, if it takes any."""
        config = () if arguments[0] in {"revoke", "certificates"} else ("--config", str(self.gateway.config))
        assert main([*map(str, arguments), *config]) == 0

    def enrol(self, name: str, *options: str) -> None:
        """Give a device its certificate."""
        self.run("enrol", name, "--ca", self.authority, "--out", self.top / name, *options)

    def sign(self, name: str, now: datetime | None = None) -> str:
        """Sign what no careful authority would, for a day; the directory of the certificate."""
        directory, key = f"signed-{uuid4()}", new_key()
        authority = AuthorityDir(self.authority).authority()
        certificate = issue_for_device(authority, name, key.public_key(), now or datetime.now(UTC), 1)
        (self.top / directory).mkdir()
        (self.top / directory / "cert.pem").write_bytes(pem(certificate))
        (self.top / directory / "key.pem").write_bytes(pem_of_key(key))
        return directory

    def gateways_client_id(self) -> str:
        """As the gateway keeps it."""
        with closing(sqlite3.connect(self.gateway.database)) as database:
            (found,) = database.execute("SELECT value FROM identity WHERE name LIKE 'client_id %'").fetchone()
        return str(found)

    def files(self, directory: str) -> tuple[Path, Path]:
        """Certificate and key."""
        return self.top / directory / "cert.pem", self.top / directory / "key.pem"

    def device(
        self, directory: str, version: ProtocolVersion = ProtocolVersion.V5, **options: Any
    ) -> AbstractAsyncContextManager[Technician]:
        """Whoever has the certificate in a directory."""
        tls = self._tls(*self.files(directory))
        return self._technician(self.devices_port, version, tls_context=tls, **options)

    def admits(self, certificate: Path | None = None, key: Path | None = None) -> bool:
        """Whether the broker takes whoever has this certificate with its key, or none."""
        with socket.create_connection(("127.0.0.1", self.devices_port), PATIENCE) as plain:
            try:
                with self._tls(certificate, key).wrap_socket(plain, server_hostname="127.0.0.1") as connection:
                    connection.sendall(CONNECT)
                    return connection.recv(len(ACCEPTED)) == ACCEPTED
            except (ssl.SSLError, ConnectionError):
                return False

    def hangs_up_over(self, packet: bytes, certificate: Path, key: Path) -> bool:
        """Whether the broker ends the connection of whoever sends this, without another word."""
        with (
            socket.create_connection(("127.0.0.1", self.devices_port), PATIENCE) as plain,
            self._tls(certificate, key).wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall(CONNECT)
            assert connection.recv(len(ACCEPTED)) == ACCEPTED
            connection.sendall(packet)
            return connection.recv(1) == b""

    def person(
        self, user: str, version: ProtocolVersion = ProtocolVersion.V5, **options: Any
    ) -> AbstractAsyncContextManager[Technician]:
        """Somebody on this machine with a password."""
        return self._technician(self.broker.port, version, username=user, password=PASSWORD, **options)

    def _technician(
        self, port: int, version: ProtocolVersion, **options: Any
    ) -> AbstractAsyncContextManager[Technician]:
        return technician_at(Client("127.0.0.1", port, protocol=version, timeout=PATIENCE, **options), version)

    def _tls(self, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.mosquitto / "certs" / "ca.crt")
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        return context


@contextmanager
def production_site(top: Path, besides: str = "", **sections: Mapping[str, object]) -> Iterator[ProductionSite]:
    """Both, started; at the end neither runs any more.

    Args:
        top: directory of everything.
        besides: one more file of the broker's configuration.
        sections: of the gateway's settings.
    """
    # the path of a socket has a limit of 107 characters
    with tempfile.TemporaryDirectory(prefix="mqtt-") as sockets:
        site = ProductionSite(top, Path(sockets), sections)
        try:
            site.set_up()
            (site.mosquitto / "conf.d" / "site.conf").write_text(besides)
            site.start()
            yield site
        finally:
            site.gateway.close()
            site.broker.stop()
