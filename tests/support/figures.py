"""The figures that health tells, of a gateway as a test wants it."""

from typing import Any


def figures(**changed: Any) -> dict[str, Any]:
    return {
        "gateway": "gw1",
        "version": "0.1.0",
        "epoch": 3,
        "broker": {"connected": True, "dropped": None},
        "in_flight": 7,
        "event_store": {"kind": "embedded", "head": 12, "available": True},
        "parked": {"commands": 4, "devices": 2},
        "read_cache": {"position": 10, "lag": 2, "rebuilding": False},
        "feed": {"position": 12, "lag": 0},
        "retained": {"waiting": 1},
        "outages": {"open": {"store": "2026-03-01T12:00:00Z"}, "unacknowledged": {}, "unacknowledged_older": 0},
        **changed,
    }
