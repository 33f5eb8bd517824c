"""The broker's configuration, for mosquitto's ``conf.d``: listeners, who is let in, limits, and what is kept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

AUTOSAVE: Final = 30
"""Seconds between two saves of the broker's store, unless somebody wants others."""

_DAY: Final = 86_400
_SHORTEST_DAYS: Final = 14


@dataclass(frozen=True, slots=True)
class BrokerPlaces:
    """Where mosquitto finds its files, and where it listens.

    Attributes:
        directory: of rules, passwords and certificates.
        local_port: on loopback, for tools of this machine.
        devices: address of the interface for devices; empty: every one.
        devices_port: for devices.
        socket: path of the unix socket for the gateway.
    """

    directory: Path
    local_port: int = 1883
    devices: str = ""
    devices_port: int = 8883
    socket: str = "/run/edge-gateway-mqtt/mqtt.sock"

    @property
    def acl(self) -> Path:
        """The access rules."""
        return self.directory / "edge-gateway.acl"

    @property
    def passwords(self) -> Path:
        """Of users who have no certificate."""
        return self.directory / "edge-gateway.passwd"

    @property
    def certificates(self) -> Path:
        """Of the authority and of the broker itself."""
        return self.directory / "certs"

    @property
    def authority(self) -> Path:
        """The certificate that signs all others."""
        return self.certificates / "ca.crt"

    @property
    def certificate(self) -> Path:
        """The broker's own."""
        return self.certificates / "server.crt"

    @property
    def key(self) -> Path:
        """Of that certificate."""
        return self.certificates / "server.key"

    @property
    def revoked(self) -> Path:
        """The list of revoked certificates."""
        return self.certificates / "crl.pem"

    @property
    def drop_in(self) -> Path:
        """This configuration."""
        return self.directory / "conf.d" / "edge-gateway.conf"


def drop_in(places: BrokerPlaces, *, session_expiry: int, in_flight: int, autosave: int = AUTOSAVE) -> str:
    """The text of the file.

    Args:
        places: of files and listeners.
        session_expiry: seconds for which the broker is to keep the gateway's session.
        in_flight: messages that the gateway wants to have in flight.
        autosave: seconds between two saves of the broker's store; 0: only when it ends.
    """
    days = max(_SHORTEST_DAYS, -(-session_expiry // _DAY))
    return _TEXT.format(
        places=places,
        devices=f"{places.devices_port} {places.devices}".strip(),
        days=days,
        in_flight=in_flight,
        autosave=autosave,
    )


_TEXT: Final = """\
# The broker of an edge gateway: for {places.drop_in}, mosquitto 2.0.11 or newer.
# Written by "edge-gateway broker-config --drop-in".

# Who somebody is. Rules and passwords hold for every listener.
per_listener_settings false
allow_anonymous false
password_file {places.passwords}
acl_file {places.acl}

# The gateway: the directory's permissions say who may open the socket at all.
listener 0 {places.socket}

# Tools on this machine, with user name and password.
listener {places.local_port} 127.0.0.1

# Devices, and people from elsewhere: only with a certificate. Its name is the user name, and the client id as well, so
# that nobody can take over the session of another, and with it what waits there.
listener {devices}
cafile {places.authority}
crlfile {places.revoked}
certfile {places.certificate}
keyfile {places.key}
require_certificate true
use_identity_as_username true
use_username_as_clientid true
# of this listener; systemd gives mosquitto 1024 files
max_connections 500

# Without it a pair of small packets waits 40 ms for the peer's delayed ACK.
set_tcp_nodelay true

# The largest state that a device can have is over 2 MiB; what is too large as a command the gateway answers with 413.
max_packet_size 4194304
# as many as the gateway wants to have under way
max_inflight_messages {in_flight}
# What waits for a client that is away. Beyond it mosquitto drops the newest, silently: a sender repeats a command until
# it is acknowledged.
max_queued_messages 10000
max_queued_bytes 67108864
memory_limit 268435456

# Sessions, queues and retained messages survive a restart. A broker that is killed loses what came after the last save.
# Each save writes the whole store, though nothing has changed: on a memory card a longer interval may be worth it, see
# "Wear of the disk" in docs/operations.md.
# Do not set autosave_on_changes: it writes the whole store for each message, and 60 messages a second get through.
persistence true
autosave_interval {autosave}
# not sooner than the gateway's own session
persistent_client_expiration {days}d
"""
