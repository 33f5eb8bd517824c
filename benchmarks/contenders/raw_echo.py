"""The leanest echo there is: ``python -m benchmarks.contenders.raw_echo PORT ROOT``.

Raw socket, QoS 1 in, QoS 1 out, and a PUBACK when the broker has the answer; everything that one read brings is
answered with one write. What is quicker than this is not to be had through this broker in this language.
"""

import sys
from typing import Final

from benchmarks import wire

_READ: Final = 262_144


def main() -> None:
    """Echo until killed."""
    port, root = int(sys.argv[1]), sys.argv[2]
    line, reader = wire.open_connection(port, f"raw-echo-{root.replace('/', '-')}", [f"{root}/cmd/+/+/+"])
    print("ready", flush=True)
    while received := line.recv(_READ):
        out = bytearray()
        for packet in reader.packets(received):
            if packet.kind == wire.PUBACK:
                # the answer had the packet id of the command: whatever confirms the one confirms the other
                out += wire.puback(packet.body[:2])
            else:
                message = wire.read_message(packet)
                topic = message.topic.replace(b"/cmd/", b"/ack/", 1).rpartition(b"/")[0]
                out += wire.publish(topic, message.packet_id, message.payload)
        line.sendall(out)


if __name__ == "__main__":
    main()
