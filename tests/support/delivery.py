"""A delivery as the link would hand it over."""

from dataclasses import dataclass, field

import orjson

from gateway.messages import NO_PROPERTIES, MessageProperties

ROOT = "edge/gw1"


@dataclass
class FakeDelivery:
    topic: str
    payload: bytes = b"{}"
    retain: bool = False
    redelivered: bool = False
    properties: MessageProperties = NO_PROPERTIES
    acknowledged: int = field(default=0, init=False)

    def acknowledge(self) -> None:
        self.acknowledged += 1


def command(
    actor: str,
    device: str,
    name: str,
    body: object = None,
    *,
    retain: bool = False,
    properties: MessageProperties = NO_PROPERTIES,
) -> FakeDelivery:
    """A command's delivery; a body that is no bytes becomes JSON."""
    payload = body if isinstance(body, bytes) else orjson.dumps({} if body is None else body)
    return FakeDelivery(f"{ROOT}/cmd/{actor}/{device}/{name}", payload, retain, properties=properties)
