"""The codes of answers, and what each means: for the acknowledgements, for ``gateway/info``, and for whoever asks."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Status = Literal["accepted", "deferred", "rejected"]


class Meaning(NamedTuple):
    """What a code says.

    Attributes:
        status: whether it took effect, may still do so, or never will.
        meaning: for people.
        send_again: whether the same command, with the same id, may be sent again with another result.
    """

    status: Status
    meaning: str
    send_again: bool = False


CODES: Final[Mapping[int, Meaning]] = {
    200: Meaning("accepted", "applied"),
    201: Meaning("accepted", "applied: the first event of a device"),
    204: Meaning("accepted", "nothing had to change"),
    202: Meaning("deferred", "kept durably while the event store is away; the final answer follows"),
    400: Meaning("rejected", "not JSON, or a bad envelope"),
    403: Meaning("rejected", "this actor may not do that"),
    404: Meaning("rejected", "unknown device or command"),
    408: Meaning("deferred", "durable, but the read cache did not show it in time", send_again=True),
    409: Meaning("rejected", "this command id was used with other content"),
    410: Meaning("rejected", "expired, or published as retained"),
    412: Meaning("rejected", "the device is at another revision"),
    413: Meaning("rejected", "payload too large, or too many properties"),
    422: Meaning("rejected", "a field is invalid, or the device's state forbids the command"),
    429: Meaning("deferred", "this actor sends too fast", send_again=True),
    500: Meaning("deferred", "a fault in the gateway, or a history that it cannot read", send_again=True),
    503: Meaning("deferred", "the event store is away, or there is no room", send_again=True),
}


def status_of(code: int) -> Status:
    """The word for a code: accepted, deferred (transient, or not settled yet) or rejected."""
    return CODES[code].status
