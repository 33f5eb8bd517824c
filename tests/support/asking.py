"""Asking queries over MQTT, as a technician does."""

from typing import Any
from uuid import uuid4

from tests.support.technician import Body, Technician


async def ask(tech: Technician, actor: str, query: str, **parameters: Any) -> Body:
    """The answer to a query, on a Response Topic of its own."""
    name = uuid4().hex
    await tech.watch(f"answer/{actor}/#")
    body = {("from" if key == "from_" else key): value for key, value in parameters.items()}
    await tech.publish(f"query/{actor}/{query}", body, response_topic=f"answer/{actor}/{name}")
    answer = await tech.first(lambda message: message.topic == f"answer/{actor}/{name}")
    return answer.body


async def ask_all(tech: Technician, actor: str, query: str, **parameters: Any) -> list[Any]:
    """The items of all pages."""
    items: list[Any] = []
    while True:
        answer = await ask(tech, actor, query, **parameters)
        assert answer["code"] == 200, answer
        items += answer["result"]
        if "next" not in answer or not answer["result"]:
            return items
        parameters |= answer["next"]
