"""How a call fails: status, details and trailers, in the words of the real server."""

from dataclasses import dataclass
from typing import Any, Final

from tests.support.eventstoredb.protos import grpc
from tests.support.eventstoredb.records import Answer, WrongExpectedVersion

NOT_READY: Final = "Server Is Not Ready"
CLOSED: Final = "Socket closed"


@dataclass(eq=False)
class Refusal(Exception):
    """The call ends with this status.

    Attributes:
        code: a status code of gRPC.
        details: for people, and for the client, which compares some of them.
        trailers: of the response, such as the name of the exception.
    """

    code: Any
    details: str
    trailers: tuple[tuple[str, str], ...] = ()


def unavailable(details: str = CLOSED) -> Refusal:
    """The node is going or gone."""
    return Refusal(grpc.StatusCode.UNAVAILABLE, details)


def not_leader(host: str, port: int) -> Refusal:
    """Another node is the leader."""
    trailers = (
        ("exception", "not-leader"),
        ("leader-endpoint-host", host),
        ("leader-endpoint-port", str(port)),
    )
    return Refusal(grpc.StatusCode.NOT_FOUND, "Leader info available", trailers)


def access_denied() -> Refusal:
    """The user is nobody, or may not do that."""
    return Refusal(grpc.StatusCode.PERMISSION_DENIED, "Access Denied", (("exception", "access-denied"),))


def unauthenticated() -> Refusal:
    """The password is wrong, or the user unknown."""
    return Refusal(grpc.StatusCode.UNAUTHENTICATED, "Unauthenticated")


def stream_deleted(stream: str) -> Refusal:
    """The stream is tombstoned."""
    trailers = (("exception", "stream-deleted"), ("stream-name", stream))
    return Refusal(grpc.StatusCode.FAILED_PRECONDITION, f"Event stream '{stream}' is deleted.", trailers)


def delete_refused(stream: str, expected: int, answer: Answer) -> Refusal:
    """The log did not delete the stream."""
    if not isinstance(answer, WrongExpectedVersion):
        return stream_deleted(stream)
    trailers = (
        ("exception", "wrong-expected-version"),
        ("stream-name", stream),
        ("expected-version", str(expected)),
        ("actual-version", str(answer.current)),
    )
    details = (
        f"Delete failed due to WrongExpectedVersion. Stream: {stream}, "
        f"Expected version: {expected}, Actual version: {answer.current}"
    )
    return Refusal(grpc.StatusCode.FAILED_PRECONDITION, details, trailers)


def append_too_large(limit: int) -> Refusal:
    """The events of one append are too large together."""
    trailers = (("exception", "maximum-append-size-exceeded"), ("maximum-append-size", str(limit)))
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"Maximum Append Size of {limit} Exceeded.", trailers)


def metadata_missing(key: str) -> Refusal:
    """An event comes without its type or its content type."""
    trailers = (("exception", "missing-required-metadata-property"), ("required-metadata-properties", key))
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"Required Metadata Property '{key}' is missing", trailers)


def bad_request(details: str) -> Refusal:
    """The request breaks a rule of the protocol."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, details)


def unknown(details: str) -> Refusal:
    """The server has no better word for it."""
    return Refusal(grpc.StatusCode.UNKNOWN, details)


def too_slow() -> Refusal:
    """A live subscription has more events waiting than the server keeps for it."""
    details = "Operation timed out: Consumer too slow to handle event while live. Client resubscription required."
    return Refusal(grpc.StatusCode.ABORTED, details)


def timed_out() -> Refusal:
    """A write took longer than it may."""
    return Refusal(grpc.StatusCode.ABORTED, "Operation timed out: Prepare phase timeout")
