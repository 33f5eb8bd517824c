"""The client library for EventStoreDB, under one set of names: kurrentdbclient where it is installed, else esdbclient.

Both speak to EventStoreDB and to KurrentDB. They cannot be imported into one process, so this is the only module that
imports either.
"""

import os
from importlib import import_module
from typing import Any, Final

# or the C library writes to the standard error whatever happens to a connection; what matters is told by us
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def _load() -> tuple[Any, Any, str]:
    for name, error_suffix in (("kurrentdbclient", "Error"), ("esdbclient", "")):
        try:
            return import_module(name), import_module(f"{name}.exceptions"), error_suffix
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise ImportError(
        "event_store.url needs a client library: install edge-gateway[kurrentdb] or edge-gateway[eventstoredb]"
    )


_library, _exceptions, _suffix = _load()


def _error(name: str) -> type[Exception]:
    found: type[Exception] = getattr(_exceptions, name if name.endswith("Error") else name + _suffix)
    return found


LIBRARY: Final[str] = _library.__name__

Client: Final[Any] = getattr(_library, "AsyncKurrentDBClient", None) or _library.AsyncEventStoreDBClient
NewEvent: Final[Any] = _library.NewEvent
StreamState: Final[Any] = _library.StreamState
Checkpoint: Final[Any] = _library.Checkpoint
CaughtUp: Final[Any] = _library.CaughtUp

ClientError: Final[type[Exception]] = getattr(_exceptions, "KurrentDBClientError", None) or _error(
    "EventStoreDBClientException"
)
ProgrammingError: Final = _error("ProgrammingError")
RpcError: Final[type[Exception]] = import_module("grpc").RpcError
UsageError: Final[type[Exception]] = import_module("grpc.aio").UsageError
WrongCurrentVersion: Final = _error("WrongCurrentVersion")
NotFound: Final = _error("NotFound")
StreamIsDeleted: Final = _error("StreamIsDeleted")
NodeIsNotLeader: Final = _error("NodeIsNotLeader")
AccessDenied: Final = _error("AccessDeniedError")
BadRequest: Final = _error("BadRequestError")
MaximumAppendSizeExceeded: Final = _error("MaximumAppendSizeExceededError")
