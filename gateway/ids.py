"""Identifiers: what a valid one looks like, and how a command id becomes its events' ids.

An event id is a UUID of version 8 (RFC 9562): its first half depends on the command id alone, its second half
on actor, device, command id and index. So one unique index on event ids serves three purposes: a retried append is
recognised, a known command is found by its key, and all events of a bare command id are one range of the index.
A command id that is itself a version 7 UUID lends its time prefix, which keeps that index's new entries together:
a random index is what costs most writes on flash.
"""

import os
import re
import time
from hashlib import blake2b
from typing import Final
from uuid import UUID

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
"""One topic level: an actor, a device id or a gateway id. Always used with ``fullmatch``."""

MAX_COMMAND_ID: Final = 64

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
_VERSION_8: Final = 0x8 << 76
_VARIANT: Final = 0x2 << 62
_KEEP: Final = ~((0xF << 76) | (0x3 << 62))


def is_name(text: str) -> bool:
    """Whether the text may stand as one topic level."""
    return NAME.fullmatch(text) is not None


def is_command_id(text: str) -> bool:
    """Whether the text may serve as a command id: 1 to 64 printable characters."""
    return 0 < len(text) <= MAX_COMMAND_ID and text.isprintable()


def event_id(actor: str, device: str, command_id: str, index: int) -> UUID:
    """The id of the index-th event that this command causes.

    The id for index 0 is also the command's key, under which its outcome is remembered.
    """
    # "/" occurs in no name, so the joined text stands for exactly one command
    suffix = blake2b(f"{actor}/{device}/{index}/{command_id}".encode(), digest_size=8).digest()
    return UUID(int=(int.from_bytes(_prefix(command_id) + suffix) & _KEEP) | _VERSION_8 | _VARIANT)


def event_id_range(command_id: str) -> tuple[UUID, UUID]:
    """The lowest and highest event id that any actor's command of this id can have, on any device."""
    prefix = _prefix(command_id)
    low = (int.from_bytes(prefix + bytes(8)) & _KEEP) | _VERSION_8 | _VARIANT
    high = (int.from_bytes(prefix + b"\xff" * 8) & _KEEP) | _VERSION_8 | _VARIANT
    return UUID(int=low), UUID(int=high)


def range_after(command_id: str, after: UUID | None) -> tuple[UUID, UUID]:
    """The id over which those of this command id lie that are over ``after``, and the highest that they can have."""
    low, high = event_id_range(command_id)
    below = UUID(int=low.int - 1)
    return (below if after is None else max(below, after)), high


def new_id() -> str:
    """A fresh version 7 UUID (RFC 9562): time-ordered, unguessable."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10))
    return str(UUID(int=value & _KEEP | 0x7 << 76 | _VARIANT))


def _prefix(command_id: str) -> bytes:
    """Eight bytes that depend on the command id alone."""
    if _UUID7.fullmatch(command_id):
        return bytes.fromhex(command_id[:18].replace("-", ""))
    return blake2b(command_id.encode(), digest_size=8, person=b"command-id").digest()
