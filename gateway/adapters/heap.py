"""The memory of this process: what is free in it may be free for others, what stays need not be looked at."""

import ctypes
import gc
from functools import cache
from typing import Any


@cache
def _malloc_trim() -> Any:  # noqa: ANN401 - a foreign function
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def keep() -> None:
    """What is there now stays: the garbage collector need not walk through all of it again and again.

    Thousands of documents hold everything up for tens of milliseconds otherwise, each time.
    """
    gc.freeze()


def give_back() -> None:
    """Return to the system what is free in the heap; nothing where the C library has no such function.

    JSON is written into buffers that are much larger than what is kept of it. What was freed between things that stay
    is never returned otherwise: a third of all memory, with thousands of devices.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)
