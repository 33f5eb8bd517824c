"""What could not be parsed, for people to look at. Pure."""

from base64 import b64encode
from datetime import datetime
from typing import Any, Final

import orjson

from gateway.ports import Delivery

MAX_PAYLOAD_KEPT: Final = 4_096
MAX_TOPIC_KEPT: Final = 1_024


def dead_letter(delivery: Delivery, reason: str, message: str, at: datetime) -> bytes:
    """The delivery with the reason, as JSON; of a long payload only the beginning, and its size."""
    kept = delivery.payload[:MAX_PAYLOAD_KEPT]
    letter: dict[str, Any] = {
        "reason": reason,
        "message": message,
        "at": at,
        "topic": delivery.topic[:MAX_TOPIC_KEPT],
        "size": len(delivery.payload),
        "truncated": len(delivery.payload) > len(kept),
    }
    try:
        letter["payload"] = kept.decode()
    except UnicodeDecodeError:
        letter["payload_base64"] = b64encode(kept).decode()
    return orjson.dumps(letter, option=orjson.OPT_UTC_Z)
