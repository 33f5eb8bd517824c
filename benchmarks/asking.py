"""Reads the history of a device, page by page, again and again: ``python -m benchmarks.asking PORT ROOT DEVICE``."""

import json
import sys
from typing import Any, Final

from benchmarks import wire

LIMIT: Final = 500
_READ: Final = 262_144


def main() -> None:
    """Ask until killed."""
    port, root, device = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    line, reader = wire.open_connection(port, "asking", [f"{root}/answer/{device}/history"])
    topic = f"{root}/query/{device}/history".encode()
    first: dict[str, Any] = {"device": device, "limit": LIMIT}
    line.sendall(wire.publish(topic, b"\x00\x01", json.dumps(first).encode()))
    while received := line.recv(_READ):
        for packet in reader.packets(received):
            if packet.kind == wire.PUBLISH & 0xF0:
                message = wire.read_message(packet)
                answer = json.loads(message.payload)
                if answer["code"] != 200:  # noqa: PLR2004 - accepted
                    sys.exit(f"the history is not told: {message.payload.decode()}")
                further = json.dumps(first | answer.get("next", {})).encode()
                line.sendall(wire.puback(message.packet_id) + wire.publish(topic, b"\x00\x01", further))


if __name__ == "__main__":
    main()
