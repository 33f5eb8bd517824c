"""What the exit status of the command says. Every error becomes one here, and nowhere else."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from gateway.errors import (
    Deferral,
    EnrolmentError,
    MigrationError,
    NotFound,
    NotPermitted,
    PublishRefused,
    Refusal,
    SettingsError,
    StateError,
    Unavailable,
)


class Exit(IntEnum):
    """Exit statuses: 64 and above as in BSD's ``sysexits.h``, 128 and above as a shell tells of a signal."""

    OK = 0
    NO = 1
    """A question was answered in the negative: unknown, not equal."""
    USAGE = 2
    REJECTED = 65
    UNREACHABLE = 69
    BUG = 70
    TRY_AGAIN = 75
    """Not settled in time; the same command id may be sent, the same question asked again."""
    NOT_PERMITTED = 77
    SETTINGS = 78
    INTERRUPTED = 130
    PIPE_CLOSED = 141


_STATUSES: Final[Sequence[tuple[type[BaseException], Exit]]] = (
    (SettingsError, Exit.SETTINGS),
    (StateError, Exit.SETTINGS),
    (MigrationError, Exit.NO),
    (NotFound, Exit.NO),
    (NotPermitted, Exit.NOT_PERMITTED),
    (Deferral, Exit.TRY_AGAIN),
    (Refusal, Exit.REJECTED),
    (EnrolmentError, Exit.NO),
    (Unavailable, Exit.UNREACHABLE),
    (PublishRefused, Exit.NOT_PERMITTED),
    (PermissionError, Exit.NOT_PERMITTED),
    (BrokenPipeError, Exit.PIPE_CLOSED),
    (KeyboardInterrupt, Exit.INTERRUPTED),
)


def exit_status(error: BaseException) -> Exit:
    """The status for an error that ended the command."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), Exit.BUG)
