"""Which events of the whole log a reader wants."""

import re
from collections.abc import Callable
from typing import Any

from tests.support.eventstoredb.records import Record

Matches = Callable[[Record], bool]


def everything(_record: Record) -> bool:
    """No filter."""
    return True


def read_filter(options: Any) -> Matches:
    """What the request asks for: a pattern found anywhere, or one of several prefixes."""
    if options.WhichOneof("filter_option") != "filter":
        return everything
    field = options.filter.WhichOneof("filter")
    expression = getattr(options.filter, field)
    by_stream = field == "stream_identifier"
    if expression.prefix:
        prefixes = tuple(expression.prefix)
        return lambda record: (record.stream if by_stream else record.type).startswith(prefixes)
    search = re.compile(expression.regex).search
    return lambda record: search(record.stream if by_stream else record.type) is not None


def checkpoint_interval(options: Any) -> int | None:
    """How many events are considered from one checkpoint to the next; ``None`` where none come."""
    if options.WhichOneof("filter_option") != "filter" or options.filter.WhichOneof("window") != "max":
        return None
    return int(options.filter.max * options.filter.checkpointIntervalMultiplier)
