"""PUBACKs that could not be sent, because the connection ended before they had their turn.

The broker brings such a delivery again, and is told then, without handling it anew. It matters most where the answer is
what ended the connection (mosquitto 2.0.11 hangs up over a message that its ACL denies): handled anew, it would end the
next one, too, and what is behind it would not be heard.
"""

from gateway.ports import Delivery


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
