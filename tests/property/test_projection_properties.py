"""However a history is cut into batches, and whenever the process ends in between, the read cache is the same."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.tinydb_cache import ReadCache, open_cache
from gateway.codec import EventCodec
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Document
from gateway.projection import Projection
from tests.support.counter_decider import COUNTER, Counted
from tests.support.histories import History
from tests.support.requests import NOW

CATALOGUE = Catalogue([COUNTER])
CODEC = EventCodec(CATALOGUE)

AFTERWARDS = st.sampled_from(["settled", "settled, restarted", "gathered"])
"""What a batch is followed by."""

HISTORIES = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-9, 99)), max_size=60)


def contents(cache: ReadCache) -> dict[str, dict[str, Document]]:
    return {table: {str(row["id"]): row for row in rows} for table, rows in cache.tables().items()}


@given(HISTORIES, st.lists(st.tuples(st.integers(1, 9), AFTERWARDS), min_size=1), st.integers(1, 4))
def test_batches_restarts_and_memory_make_no_difference(
    happened: list[tuple[str, int]], cuts: list[tuple[int, str]], capacity: int
) -> None:
    asyncio.run(_compare(happened, cuts, capacity))


async def _compare(happened: list[tuple[str, int]], cuts: list[tuple[int, str]], capacity: int) -> None:
    history = History(CODEC)
    for name, by in happened:
        history.add(f"counter-{name}", [Counted(at=NOW, by=by)])
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "readmodel.json"
        whole = ReadCache(path, "log")
        Projection(whole, CATALOGUE, CODEC).apply(history.events)
        pieces = ReadCache(path, "log")
        projection = Projection(pieces, CATALOGUE, CODEC, capacity=capacity)
        left, turn = history.events, 0
        while left:
            size, afterwards = cuts[turn % len(cuts)]
            projection.gather(left[:size])
            left, turn = left[size:], turn + 1
            if not left or afterwards != "gathered":
                projection.settle()
            if afterwards == "settled, restarted":
                await pieces.flush()
                pieces = open_cache(path)
                projection = Projection(pieces, CATALOGUE, CODEC, capacity=capacity)
        assert contents(pieces) == contents(whole)
        assert pieces.position == whole.position
