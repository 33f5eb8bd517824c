"""PUBACKs that could not be sent, because the connection ended before they had their turn.

The broker brings such a delivery again, and is told then, without handling it anew. It matters most where the answer is
what ended the connection (mosquitto 2.0.11 hangs up over a message that its ACL denies): handled anew, it would end the
next one, too, and what is behind it would not be heard.
"""

from collections.abc import Iterator
from typing import Final

from gateway.ports import Delivery

_IN_DOUBT: Final = 20


class SentPubacks:
    """The last PUBACKs of one connection that the broker may not have: it may have been hanging up.

    What it certainly has must not count as owed: a broker may give its packet id to a copy of the same message, which
    would then be taken for settled when the connection ends, and never be answered.
    """

    def __init__(self) -> None:
        self._sent: dict[int, tuple[Delivery, int]] = {}

    def __iter__(self) -> Iterator[tuple[int, Delivery]]:
        return ((packet_id, delivery) for packet_id, (delivery, _) in self._sent.items())

    def add(self, packet_id: int, delivery: Delivery, published: int) -> None:
        """One is on its way, behind so many published messages."""
        self._sent[packet_id] = delivery, published
        if len(self._sent) > _IN_DOUBT:
            del self._sent[next(iter(self._sent))]

    def given_anew(self, packet_id: int) -> None:
        """The broker uses this packet id for another message, so it has the PUBACK."""
        self._sent.pop(packet_id, None)

    def confirmed(self, number: int) -> None:
        """The broker has the message that was published as this one, and so whatever was sent before it."""
        while self._sent:
            first = next(iter(self._sent))
            if self._sent[first][1] >= number:
                break
            del self._sent[first]

    def clear(self) -> None:
        """The connection is gone."""
        self._sent.clear()


class OwedPubacks:
    """Of one session, over all its connections.

    Attributes:
        debtor: the newest connection. What an older one settles comes too late: it has been brought again, perhaps
            acknowledged, and its packet id given anew.
    """

    def __init__(self) -> None:
        self.debtor: object = None
        self._owed: dict[int, tuple[str, bytes]] = {}

    def add(self, packet_id: int, delivery: Delivery) -> None:
        """This delivery is settled, and the broker does not know it."""
        self._owed[packet_id] = delivery.topic, delivery.payload

    def take(self, packet_id: int, delivery: Delivery) -> bool:
        """Whether this one is settled already. The same id alone proves nothing: the broker may have given it anew."""
        if not delivery.redelivered:
            # what is brought again comes first, so nothing more of what is owed will come
            self.forget()
        return self._owed.pop(packet_id, None) == (delivery.topic, delivery.payload)

    def forget(self) -> None:
        """The packet ids mean nothing any more."""
        self._owed.clear()
