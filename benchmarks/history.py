"""A state directory as a gateway leaves it after years, made within seconds."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import chain, count, islice
from pathlib import Path
from typing import Final

from gateway.adapters.sqlite import DATABASE_FILE
from gateway.adapters.sqlite_file import close_cleanly, connect_writer, prepare
from gateway.codec import EventCodec
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Event
from gateway.domain.device_events import DeviceRegistered, PropertiesReported
from gateway.ids import event_id
from gateway.messages import NewEvent, ReplyTo, Request

BEGAN: Final = datetime(2025, 1, 1, tzinfo=UTC)
_MILLISECONDS: Final = int(BEGAN.timestamp() * 1_000)
_EVERY: Final = 50
"""Milliseconds between two events."""

_COMMAND: Final = "01890000-0000-7000-8000-000000000000"
_VALUE: Final = 1_000_000_000
_DEVICE: Final = "pump-0"

_AT_ONCE: Final = 50_000
"""Events in one transaction."""

_INSERT: Final = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def fill(state_dir: Path, fleet: str, devices: int, events: int, of_first: int = 0) -> None:
    """Give a gateway that does not run yet a log: each device in turn is registered, and then reports again and again.

    Args:
        state_dir: made here.
        fleet: what the names of the devices begin with.
        devices: how many.
        events: of all of them together.
        of_first: further ones, of the first device alone.
    """
    state_dir.mkdir(parents=True)
    path = state_dir / DATABASE_FILE
    prepare(path)
    with closing(connect_writer(path)) as connection:
        # nobody minds if this is lost; it is made in seconds again
        connection.execute("PRAGMA synchronous = OFF")
        names = ((f"device-{fleet}-{number}",) for number in range(devices))
        connection.executemany("INSERT INTO streams (name) VALUES (?)", names)
        rows = _rows(fleet, devices, events, of_first)
        while some := list(islice(rows, _AT_ONCE)):
            connection.execute("BEGIN")
            connection.executemany(_INSERT, some)
            connection.execute("COMMIT")
        close_cleanly(connection)


def _rows(fleet: str, devices: int, events: int, of_first: int) -> Iterator[tuple[object, ...]]:
    registered = _template(DeviceRegistered(at=BEGAN, model="T-1000"), "register")
    reported = _template(PropertiesReported(at=BEGAN, properties={"temperature": 41.5, "rpm": _VALUE}), "report")
    began = int(BEGAN.timestamp() * 1_000_000)
    places = chain(
        (divmod(number, devices) for number in range(events)),
        ((number, 0) for number in count(-(-events // devices), 1)),
    )
    for number, (revision, index) in zip(range(events + of_first), places, strict=False):
        device, milliseconds = f"{fleet}-{index}", _MILLISECONDS + _EVERY * number
        command = f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}{_COMMAND[13:]}"
        event = reported if revision else registered
        yield (
            number + 1,
            index + 1,
            revision,
            began + _EVERY * 1_000 * number,
            event_id(device, device, command, 0).bytes,
            event.type,
            event.data.replace(b"%d" % _VALUE, b"%d" % (_VALUE + number)),
            event.metadata.replace(_COMMAND.encode(), command.encode()).replace(_DEVICE.encode(), device.encode()),
        )


def _template(event: Event, command: str) -> NewEvent:
    """The event as the gateway writes it."""
    request = Request(
        key=event_id(_DEVICE, _DEVICE, _COMMAND, 0),
        command_id=_COMMAND,
        sender_gave_id=True,
        actor=_DEVICE,
        device=_DEVICE,
        name=command,
        role=None,
        command=None,
        decider=None,
        refusal=None,
        digest=bytes(16),
        received_at=BEGAN + timedelta(microseconds=1),
        reply=ReplyTo("ack"),
    )
    [encoded] = EventCodec(Catalogue(DECIDERS)).encode([event], request, "gw1")
    return encoded
