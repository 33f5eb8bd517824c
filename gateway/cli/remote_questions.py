"""Queries to a running gateway through its broker: asked again, over one connection after the other, until answered."""

import asyncio
import json
from argparse import Namespace
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

from gateway.adapters.mqtt_connection import Connection, MqttDelivery
from gateway.cli.asking import Answer
from gateway.cli.broker_options import default_actor, with_flags
from gateway.cli.dialler import Dialler, publish
from gateway.cli.output import note
from gateway.errors import Invalid, LinkLost, NotFound, NotPermitted, Overloaded, Refusal, TimedOut
from gateway.ids import new_id
from gateway.messages import MessageProperties
from gateway.queries.parameters import MAX_WAIT_MS
from gateway.settings_loader import load_settings
from gateway.topics import Topics

ON_THE_WAY: Final = 2.0
"""Seconds that a query and its answer may take beyond what the gateway takes; then it is asked again."""

PAUSE: Final = 0.5
CATCHING_UP_MS: Final = 500
SHARE: Final = 3
"""A gateway may take this part of the patience for an answer, so that there is time to ask again."""

_KINDS: Final[Mapping[int, type[Refusal]]] = {kind.code: kind for kind in (NotFound, NotPermitted)}


class RemoteQuestions:
    """Asks a gateway, one question after the other; see :class:`~gateway.cli.asking.Questions`.

    A question that waits for something to happen is asked for as long as it takes; for any other, patience ends.
    """

    def __init__(self, dialler: Dialler, topics: Topics, actor: str, patience: float) -> None:
        self._patience = patience
        self._dialler = dialler
        self._topics = topics
        self._actor = actor
        self._takes_ms = min(int(patience * 1_000 / SHARE), MAX_WAIT_MS)
        # nobody else's answers arrive there
        self._reply_topic = topics.answer(actor, new_id())
        self._answers: asyncio.Queue[MqttDelivery] = asyncio.Queue()
        self._line = AsyncExitStack()
        self._connection: Connection | None = None
        self._connected_before = False

    async def ask(self, query: str, parameters: Mapping[str, object]) -> Answer:
        """The answer to a query.

        Raises:
            Refusal: the gateway gives none; a Deferral where it may later.
            LinkLost: there is no broker from the start.
            PublishRefused: the broker does not let whoever asks in, or not ask.
        """
        deferral: Overloaded | TimedOut = TimedOut("no answer from the gateway: does it run, and under this root?")
        try:
            async with asyncio.timeout(None if "wait_ms" in parameters else self._patience):
                while True:
                    answer = await self._attempt(query, parameters)
                    if not isinstance(answer, Overloaded):
                        return answer
                    deferral = answer
                    await asyncio.sleep(deferral.retry_after_ms / 1_000)
        except TimeoutError:
            if not self._connected_before:
                raise LinkLost(f"no answer from the broker within {self._patience:g} s") from None
            raise deferral from None

    async def _attempt(self, query: str, parameters: Mapping[str, object]) -> Answer | Overloaded:
        """The answer, as often as the connection or the answer is lost on the way."""
        told = False
        while True:
            try:
                return await self._ask_once(query, parameters)
            except TimeoutError:
                reason = "no answer"
            except LinkLost as error:
                reason = str(error)
                await self.hang_up()
                if not self._connected_before:
                    raise
            if not told:
                note(f"{reason}; asking again")
                told = True
            await asyncio.sleep(PAUSE)

    async def _ask_once(self, query: str, parameters: Mapping[str, object]) -> Answer | Overloaded:
        connection = await self._connected()
        id_ = new_id().encode()
        payload = json.dumps({"timeout_ms": self._takes_ms, **parameters}).encode()
        wait_ms = parameters.get("wait_ms", 0)
        assert isinstance(wait_ms, int)  # noqa: S101 - the protocol's own parameter
        within = (self._takes_ms + wait_ms) / 1_000 + ON_THE_WAY

        async def exchange() -> Answer | Overloaded:
            properties = MessageProperties(self._reply_topic, id_, "application/json")
            topic = self._topics.query(self._actor, query)
            await publish(connection, topic, payload, properties)
            async with asyncio.timeout(within):
                while (delivery := await self._answers.get()).properties.correlation_data != id_:
                    pass
            return _read(delivery.payload)

        return await connection.hold(exchange(), "ask")

    async def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = await self._line.enter_async_context(self._dialler.dial(self._reply_topic, self._take))
            self._connected_before = True
        return self._connection

    def _take(self, delivery: MqttDelivery) -> None:
        delivery.acknowledge()
        self._answers.put_nowait(delivery)

    async def hang_up(self) -> None:
        """Leave the broker."""
        self._connection = None
        with suppress(LinkLost):
            await self._line.aclose()


def _read(payload: bytes) -> Answer | Overloaded:
    """An answer as it came; one that says that it will come later, if the question is asked again.

    Raises:
        Refusal: it says that there is none.
    """
    body: dict[str, Any] = json.loads(payload)
    if "result" in body:
        return Answer(body["result"], body.get("next"))
    error, code = body["error"], body["code"]
    # what a read cache that is catching up does not know may be there all the same
    if body["status"] == "deferred" or (code == NotFound.code and body["stale"]):
        return Overloaded(
            error["message"], type=error["type"], retry_after_ms=body.get("retry_after_ms", CATCHING_UP_MS)
        )
    raise _KINDS.get(code, Invalid)(error["message"], type=error["type"])


@asynccontextmanager
async def open_remote_questions(options: Namespace) -> AsyncIterator[RemoteQuestions]:
    """A gateway to ask, as the settings and the options name it.

    Raises:
        SettingsError: the settings cannot be used.
    """
    settings = with_flags(load_settings(options.config).settings, options)
    actor = options.actor or default_actor(options.username)
    questions = RemoteQuestions(Dialler(settings.mqtt), Topics(settings.root), actor, options.timeout)
    try:
        yield questions
    finally:
        await questions.hang_up()
