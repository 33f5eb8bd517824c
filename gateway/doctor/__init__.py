"""Is everything around the gateway as it should be? Checks that take seconds, each with its remedy."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from gateway.doctor.broker import check_broker
from gateway.doctor.certificates import check_certificates
from gateway.doctor.findings import Finding, failed
from gateway.doctor.machine import check_clock, check_memory_limit
from gateway.doctor.sandbox import check_sandbox
from gateway.doctor.state import check_daemon, check_disk, check_state_dir
from gateway.doctor.store import check_event_store
from gateway.settings import Settings

Check = Callable[[Settings], Iterable[Finding]]

CHECKS: Final[Mapping[str, Check]] = {
    "state directory": check_state_dir,
    "disk": check_disk,
    "clock": check_clock,
    "memory limit": check_memory_limit,
    "certificates": check_certificates,
    "event store": check_event_store,
    "broker": check_broker,
    "daemon": check_daemon,
    "sandbox": check_sandbox,
}
"""Every group of checks, in the order in which one depends on the other."""


def examine(settings: Settings, besides: Mapping[str, Check] | None = None) -> Iterator[tuple[str, Finding]]:
    """Make every check; each finding with the name of its group.

    Args:
        settings: of the gateway.
        besides: groups of checks that need more than that.
    """
    for group, check in {**CHECKS, **(besides or {})}.items():
        try:
            for finding in check(settings):
                yield group, finding
        except Exception as error:  # noqa: BLE001 - one check that breaks must not hide what the others find
            yield group, failed(f"the check broke: {error!r}", "report this, it is a fault of the doctor")
