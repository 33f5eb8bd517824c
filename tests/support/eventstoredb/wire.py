"""What several calls have in common on the wire."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from tests.support.eventstoredb.protos import shared_pb2
from tests.support.eventstoredb.records import (
    ANY,
    EXISTS,
    NO_STREAM,
    AlreadyCommitted,
    Committed,
    Proposed,
)

JSON = "application/json"
BYTES = "application/octet-stream"
HALF = 64


class MissingMetadata(Exception):
    """An event comes without its type or its content type; the argument is the key."""


def read_uuid(uuid: Any) -> UUID:
    """Either form: text, or two signed halves."""
    if uuid.WhichOneof("value") == "structured":
        halves = (uuid.structured.most_significant_bits, uuid.structured.least_significant_bits)
        return UUID(bytes=b"".join(half.to_bytes(8, signed=True) for half in halves))
    return UUID(uuid.string)


def write_uuid(uuid: UUID, *, as_text: bool) -> shared_pb2.UUID:
    """The form that the client asks for."""
    if as_text:
        return shared_pb2.UUID(string=str(uuid))
    most, least = (int.from_bytes(half, signed=True) for half in (uuid.bytes[:8], uuid.bytes[8:]))
    halves = shared_pb2.UUID.Structured(most_significant_bits=most, least_significant_bits=least)
    return shared_pb2.UUID(structured=halves)


def read_proposed(message: Any) -> Proposed:
    """An event of an append.

    Raises:
        MissingMetadata: it has no type or no content type.
    """
    metadata: Mapping[str, str] = message.metadata
    for key in ("type", "content-type"):
        if key not in metadata:
            raise MissingMetadata(key)
    is_json = metadata["content-type"] == JSON
    return Proposed(read_uuid(message.id), metadata["type"], is_json, message.data, message.custom_metadata)


def read_stream(options: Any) -> str:
    """The name of the stream that a call is about."""
    return str(options.stream_identifier.stream_name, "utf-8")


def read_expected(options: Any) -> int:
    """The revision that a write expects; the field has another name in each of the calls."""
    for group in ("expected_stream_revision", "expected_stream_position"):
        if group in options.DESCRIPTOR.oneofs_by_name:
            chosen = options.WhichOneof(group)
            marks = {"no_stream": NO_STREAM, "any": ANY, "stream_exists": EXISTS}
            return marks[chosen] if chosen in marks else int(getattr(options, chosen))
    raise AssertionError(options)


def write_success(success: Any, answer: Committed | AlreadyCommitted) -> Any:
    """Fill in what either kind of append is answered with."""
    if answer.revision == NO_STREAM:
        success.no_stream.SetInParent()
    else:
        success.current_revision = answer.revision
    if answer.position is None:
        success.no_position.SetInParent()
    else:
        success.position.commit_position = success.position.prepare_position = answer.position
    return success
