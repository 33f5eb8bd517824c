"""An echo over the gateway's own link, which does no work: ``python -m benchmarks.contenders.link_echo PORT ROOT``."""

import asyncio
import logging
import sys
from functools import partial

import structlog

from gateway.adapters.mqtt import Link, LinkEvents, LinkOptions
from gateway.adapters.mqtt_connection import MqttDelivery


async def main() -> None:
    """Echo until killed."""
    port, root = int(sys.argv[1]), sys.argv[2]
    # whoever starts this waits for one line
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))

    def echo(delivery: MqttDelivery) -> None:
        topic = delivery.topic.replace("/cmd/", "/ack/", 1).rpartition("/")[0]
        published = link.publish(topic, delivery.payload)
        published.add_done_callback(partial(_acknowledge, delivery))

    async def next_epoch() -> int:
        return 1

    events = LinkEvents(
        delivery=echo,
        connected=lambda _: print("ready", flush=True),
        lost=sys.exit,
        next_epoch=next_epoch,
        will=lambda _: (f"{root}/gateway/status", b""),
    )
    options = LinkOptions(client_id=f"link-echo-{root.replace('/', '-')}", port=port)
    link = Link(options, [f"{root}/cmd/+/+/+"])
    await link.run(events)


def _acknowledge(delivery: MqttDelivery, published: "asyncio.Future[None]") -> None:
    published.result()
    delivery.acknowledge()


if __name__ == "__main__":
    asyncio.run(main())
