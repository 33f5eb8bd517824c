"""A write into EventStoreDB that no log has a part in: whether the store takes one, and gives it back."""

from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

from gateway.adapters import esdb_client
from gateway.adapters.esdb_connection import EsdbConnection
from gateway.adapters.esdb_options import EsdbOptions
from gateway.errors import StoreUnavailable

_LAST_ONLY: Final = {"$maxCount": 1}


async def try_write(options: EsdbOptions, stream: str) -> None:
    """Append one event to a stream of which the store is to keep the last one only, and read it back.

    Raises:
        SettingsError: the client library does not take the URL, or the CA file cannot be read.
        StoreUnavailable: it is away, or refuses it.
        ValueError: it never takes such a write.
    """
    name = options.prefix + stream
    connection = EsdbConnection(options)
    event = esdb_client.NewEvent(id=uuid4(), type="DoctorTried", data=b"{}")

    async def limit(client: Any) -> None:  # noqa: ANN401 - the client has no common type
        known, _ = await client.get_stream_metadata(name, timeout=connection.deadline)
        if not known:
            await client.set_stream_metadata(name, metadata=_LAST_ONLY, timeout=connection.deadline)

    async def read(client: Any) -> Any:  # noqa: ANN401 - as above
        return await client.get_stream(name, backwards=True, limit=1, timeout=connection.deadline)

    try:
        # whoever may not set limits may write all the same: then a small event stays of each time
        with suppress(StoreUnavailable):
            await connection.call(limit)
        await connection.append(name, esdb_client.StreamState.ANY, [event])
        found = await connection.read(read)
    except (esdb_client.WrongCurrentVersion, esdb_client.NotFound, esdb_client.StreamIsDeleted) as error:
        raise ValueError(f"{name} takes no event: {error!r}") from error
    finally:
        await connection.close()
    # another doctor may have been here in between
    if not found:
        raise StoreUnavailable(f"{name} has lost what was written")
