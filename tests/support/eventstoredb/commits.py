"""A write, with everything that may go wrong around it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.eventstoredb import refusals
from tests.support.eventstoredb.connections import drop
from tests.support.eventstoredb.faults import Kind
from tests.support.eventstoredb.node import Node
from tests.support.eventstoredb.records import AlreadyCommitted, Answer, Committed


class WriteTimeout(Exception):
    """The write took longer than it may; whether it took effect, the client cannot know."""


@dataclass(eq=False)
class BatchFault(Exception):
    """A test wants the batch to be answered with this status."""

    status: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call, as far as faults go.

    Attributes:
        method, stream: which faults concern it.
        peer: who called, in the words of gRPC.
        allowed: seconds until it times out.
    """

    method: str
    stream: str
    peer: str
    allowed: float


async def commit(node: Node, call: Call, write: Callable[[], Answer]) -> Answer:
    """Write, unless a fault comes first; answer, unless a fault comes then.

    Raises:
        Refusal: a fault ends the call.
        BatchFault: a fault is the answer.
        WriteTimeout: a delay was longer than allowed.
    """
    if not node.faults.pending:
        return write()
    await before(node, call)
    answer = write()
    if isinstance(answer, Committed | AlreadyCommitted):
        await _after(node, call)
    return answer


async def before(node: Node, call: Call) -> None:
    """Let the faults have their way that come before anything else is done.

    Raises:
        Refusal: a fault ends the call.
        BatchFault: a fault is the answer.
        WriteTimeout: a delay was longer than allowed.
    """
    take = node.faults.take
    if take(Kind.CLEAR_ID_CACHE, call.method, call.stream):
        node.store.log.remembered.clear()
    if take(Kind.UNAVAILABLE_BEFORE_COMMIT, call.method, call.stream):
        raise refusals.unavailable()
    if fault := take(Kind.BATCH_STATUS, call.method, call.stream):
        raise BatchFault(fault.status)
    if fault := take(Kind.DELAY_BEFORE_COMMIT, call.method, call.stream):
        await _delay(fault.seconds, call)


async def _after(node: Node, call: Call) -> None:
    take = node.faults.take
    if take(Kind.COMMIT_THEN_UNAVAILABLE, call.method, call.stream):
        raise refusals.unavailable()
    if fault := take(Kind.BATCH_STATUS_AFTER_COMMIT, call.method, call.stream):
        raise BatchFault(fault.status)
    if fault := take(Kind.DELAY_AFTER_COMMIT, call.method, call.stream):
        await _delay(fault.seconds, call)
    if take(Kind.COMMIT_THEN_DROP_CONNECTION, call.method, call.stream):
        drop(call.peer)
        await hang()
    if take(Kind.COMMIT_THEN_HANG, call.method, call.stream):
        await hang()


async def hang() -> None:
    """Do nothing until the call is cancelled."""
    await asyncio.get_running_loop().create_future()


async def _delay(seconds: float, call: Call) -> None:
    await asyncio.sleep(min(seconds, call.allowed))
    if seconds > call.allowed:
        raise WriteTimeout
