"""Connections that end in the middle."""

import os
import socket
from contextlib import suppress
from pathlib import Path


def drop(peer: str) -> None:
    """End the connection from this peer at once; gRPC itself has no way to.

    Args:
        peer: as gRPC names it, such as ``ipv4:127.0.0.1:54321``.
    """
    host, port = peer.removeprefix("ipv4:").split(":")
    names = {(host, int(port)), (f"::ffff:{host}", int(port))}
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(descriptor.name))) as connection:
            if tuple(connection.getpeername()[:2]) in names:
                connection.shutdown(socket.SHUT_RDWR)
