"""What a subscription is told, step by step."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.support.eventstoredb.protos import grpc
from tests.support.eventstoredb.raw_client import RawClient, proposed
from tests.support.eventstoredb.records import ANY

PATIENCE: Final = 10.0
WANTED: Final[dict[str, Any]] = {"event_type": {"regex": "^Wanted$"}, "max": 2, "checkpointIntervalMultiplier": 2}
"""A filter, with a checkpoint for every four events considered."""

Step = tuple[str, int | None]


class Follower:
    """Notes what a subscription is told: its kind, and the position where it has one."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def next(self) -> Step:
        """The next one; fails where there is none in time."""
        async with asyncio.timeout(PATIENCE):
            answer = await self._call.read()
        if answer is grpc.aio.EOF:
            return "end", None
        kind = answer.WhichOneof("content")
        if kind == "event":
            return answer.event.event.metadata["type"], answer.event.commit_position
        return kind, answer.checkpoint.commit_position if kind == "checkpoint" else None

    async def until(self, kind: str) -> list[Step]:
        """All up to the first of this kind."""
        steps: list[Step] = []
        while not steps or steps[-1][0] != kind:
            steps.append(await self.next())
        return steps


@asynccontextmanager
async def following(raw: RawClient, **options: Any) -> AsyncIterator[Follower]:
    """Subscribe until the block ends."""
    call = raw.subscribe(**options)
    try:
        yield Follower(call)
    finally:
        call.cancel()


async def append(raw: RawClient, stream: str, *types: str) -> list[Step]:
    """One append for each; returns the steps that a subscriber should see."""
    steps: list[Step] = []
    for type in types:
        answer = await raw.append(stream, ANY, proposed(type))
        steps.append((type, answer.success.position.commit_position))
    return steps
