from os import terminal_size
from typing import Any

from gateway.cli.watch_view import SPAN, View, frame

AT = "2026-03-01T12:00:00.123Z"


def document(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "model": "T-1000", "status": "online", "revision": 3, "degraded": False, "alarms": {}, **fields}


def event(number: int, device: str = "pump-7") -> dict[str, Any]:
    data = {"properties": {"n": number}}
    return {"time": AT, "device": device, "type": "PropertiesReported", "actor": device, "data": data}


def test_it_shows_counts_devices_and_the_newest_events_first() -> None:
    view = View([document("pump-7", alarms={"hot": {}})], {"online": 2, "offline": 1})
    view.take([event(1), event(2)], 0.0)
    lines = frame(view, terminal_size((120, 24)), 0.0)
    assert lines[0].startswith("devices: 1 offline, 2 online   0.2 events/s")
    assert lines[3].split() == ["pump-7", "T-1000", "online", "3", "1", "-"]
    assert [line.split()[-1] for line in lines[6:]] == ["2}}", "1}}"]


def test_no_line_is_too_many_or_too_long() -> None:
    view = View([document(f"pump-{number}") for number in range(100)], {"online": 100})
    view.take([event(number) for number in range(500)], 0.0)
    for columns, rows in ((20, 3), (40, 10), (200, 50)):
        lines = frame(view, terminal_size((columns, rows)), 0.0)
        assert len(lines) == rows
        assert max(map(len, lines)) <= columns


def test_the_rate_is_that_of_late() -> None:
    view = View()
    view.take([event(1)] * 30, 0.0)
    view.take([event(1)] * 10, SPAN - 1)
    assert (view.rate(SPAN - 1), view.rate(SPAN + 1), view.rate(3 * SPAN)) == (4.0, 1.0, 0.0)


def test_nothing_that_a_device_says_reaches_the_terminal_as_it_is() -> None:
    view = View([document("pump-7", model="\x1b[2J")], {"online": 1})
    view.take([{**event(1), "data": {"text": "\x1b]0;title\x07"}}], 0.0)
    assert all(line.isprintable() for line in frame(view, terminal_size((200, 24)), 0.0))


def test_whoever_may_not_know_how_many_there_are_is_not_told() -> None:
    lines = frame(View([document("valve-7")], None), terminal_size((80, 24)), 0.0)
    assert lines[0].startswith("0.0 events/s")
    assert lines[3].split()[0] == "valve-7"


def test_a_gateway_without_devices_says_so() -> None:
    assert frame(View(), terminal_size((80, 24)), 0.0)[0].startswith("devices: none yet")
