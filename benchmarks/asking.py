"""Reads the history of a device, page by page, again and again: ``python -m benchmarks.asking PORT ROOT DEVICE``.

With ``once`` behind it, it ends with the last page, and prints how many events there were.
"""

import json
import sys
from typing import Any, Final

from benchmarks import wire

LIMIT: Final = 500
_READ: Final = 262_144


def main() -> None:
    """Ask until killed, or until all is read."""
    port, root, device = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    is_once = sys.argv[4:] == ["once"]
    events = 0
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
                events += len(answer["result"])
                if is_once and "next" not in answer:
                    print(events)
                    return
                further = json.dumps(first | answer.get("next", {})).encode()
                line.sendall(wire.puback(message.packet_id) + wire.publish(topic, b"\x00\x01", further))


if __name__ == "__main__":
    main()
