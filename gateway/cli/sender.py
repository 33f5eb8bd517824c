"""A careful sender: the same command again and again, over one connection after the other, until it is settled.

Copies cost nothing: the gateway knows the command id, and answers each copy as it answered the first.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gateway.adapters.mqtt_connection import Connection, MqttDelivery
from gateway.cli.dialler import Dialler, publish
from gateway.cli.output import note
from gateway.errors import LinkLost
from gateway.messages import MessageProperties
from gateway.settings import MqttSettings

Acknowledgement = dict[str, Any]

FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 15.0
RECONNECT_PAUSE: Final = 0.5
"""Seconds: until the second copy, between two copies at the most, between two attempts to connect again."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A command, ready to be published as often as it takes."""

    command_id: str
    topic: str
    payload: bytes
    reply_topic: str


class Sender:
    """Sends one command."""

    def __init__(self, outgoing: Outgoing, mqtt: MqttSettings) -> None:
        self._outgoing = outgoing
        self._dialler = Dialler(mqtt)
        self._newest: Acknowledgement | None = None
        self._connected_before = False

    async def settle(self, patience: float) -> Acknowledgement | None:
        """Send until the command is accepted or rejected, at most for so many seconds.

        Returns:
            The acknowledgement; one with the status ``deferred``, or none, where the time did not suffice.

        Raises:
            LinkLost: there is no broker from the start.
            PublishRefused: the broker does not let this user in, or not publish there.
        """
        try:
            async with asyncio.timeout(patience):
                return await self._settle()
        except TimeoutError:
            if not self._connected_before:
                raise LinkLost(f"no answer from the broker within {patience:g} s") from None
            return self._newest

    async def _settle(self) -> Acknowledgement:
        while True:
            try:
                return await self._settle_over_one_connection()
            except LinkLost:
                if not self._connected_before:
                    raise
            await asyncio.sleep(RECONNECT_PAUSE)

    async def _settle_over_one_connection(self) -> Acknowledgement:
        arrivals: asyncio.Queue[Acknowledgement] = asyncio.Queue()
        async with self._dialler.dial(self._outgoing.reply_topic, self._reader(arrivals)) as connection:
            self._connected_before = True
            return await connection.hold(self._repeat(connection, arrivals), "send")

    async def _repeat(self, connection: Connection, arrivals: "asyncio.Queue[Acknowledgement]") -> Acknowledgement:
        properties = MessageProperties(response_topic=self._outgoing.reply_topic, content_type="application/json")
        pause = FIRST_PAUSE
        while True:
            await publish(connection, self._outgoing.topic, self._outgoing.payload, properties)
            patience = pause
            while (ack := await _next(arrivals, patience)) is not None:
                if ack["status"] != "deferred":
                    return ack
                if self._newest is None or ack["code"] != self._newest["code"]:
                    note(f"not settled yet: {_reason(ack)}")
                self._newest = ack
                patience = _again_after(ack)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _reader(self, arrivals: "asyncio.Queue[Acknowledgement]") -> Callable[[MqttDelivery], None]:
        def read(delivery: MqttDelivery) -> None:
            delivery.acknowledge()
            ack = _read(delivery.payload)
            if ack is not None and ack.get("command_id") == self._outgoing.command_id:
                arrivals.put_nowait(ack)

        return read


async def _next(arrivals: "asyncio.Queue[Acknowledgement]", patience: float) -> Acknowledgement | None:
    """The next acknowledgement, or none within so many seconds."""
    try:
        async with asyncio.timeout(patience):
            return await arrivals.get()
    except TimeoutError:
        return None


def _read(payload: bytes) -> Acknowledgement | None:
    """The acknowledgement in a message; none where it is something else."""
    try:
        body = json.loads(payload)
    except ValueError:
        return None
    match body:
        case {"status": str(), "code": int()}:
            return dict(body)
        case _:
            return None


def _again_after(ack: Acknowledgement) -> float:
    """Seconds until the same command is sent again. Where none are named, the gateway has it, and will tell."""
    match ack:
        case {"retry_after_ms": int(milliseconds)}:
            return milliseconds / 1_000
        case _:
            return LONGEST_PAUSE


def _reason(ack: Acknowledgement) -> str:
    match ack:
        case {"error": {"message": str(message)}}:
            return message
        case _:
            return f"code {ack['code']}"
