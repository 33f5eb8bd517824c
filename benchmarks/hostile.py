"""How long the intake takes for what nobody should send, beside an ordinary report.

Run ``.venv/bin/python -m benchmarks.hostile``. Prints milliseconds (the best of several runs) and how many ordinary
reports would have gone through in that time; the worst first.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from gateway.access import Access, OperatorRule
from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue
from gateway.intake import Intake
from gateway.topics import Topics
from tests.support.delivery import ROOT, FakeDelivery
from tests.support.hostile import PAYLOADS

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
INTAKE: Final = Intake(Topics(ROOT), Catalogue(DECIDERS), Access([OperatorRule(("alice",))]), 65_536, "gw1")
ORDINARY: Final = b'{"command_id": "c-1", "data": {"properties": {"rpm": 900, "temperature": 41.5}}}'
RUNS: Final = 20


def best(work: Callable[[], object]) -> float:
    """Seconds of the quickest of several runs."""
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    """Measure every payload, with the ordinary one before and after all others."""

    def seconds(payload: bytes) -> float:
        delivery = FakeDelivery(f"{ROOT}/cmd/pump/pump/report", payload)
        return best(lambda: INTAKE.read_command(delivery, NOW))

    first = seconds(ORDINARY)
    measured = sorted(((seconds(payload), name) for name, payload in PAYLOADS.items()), reverse=True)
    ordinary = min(first, seconds(ORDINARY))
    print(f"{ordinary * 1_000:8.3f} ms  an ordinary report")
    for taken, name in measured[:12]:
        print(f"{taken * 1_000:8.3f} ms  {taken / ordinary:6.0f} x  {name}")


if __name__ == "__main__":
    main()
