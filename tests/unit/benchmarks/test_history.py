from pathlib import Path

from benchmarks.history import fill
from gateway.adapters.sqlite import DATABASE_FILE
from gateway.ids import event_id
from tests.support.event_log import read_log


def test_a_log_made_in_seconds_is_one_that_a_gateway_could_have_written(tmp_path: Path) -> None:
    fill(tmp_path / "state", "pump", devices=3, events=20, of_first=5)
    log = read_log(tmp_path / "state" / DATABASE_FILE)
    assert [event.position for event in log] == list(range(1, 26))
    assert [event.revision for event in log if event.device == "pump-0"] == list(range(12))
    assert [event.revision for event in log if event.device == "pump-1"] == list(range(7))
    assert [event.type for event in log] == ["DeviceRegistered"] * 3 + ["PropertiesReported"] * 22
    for event in log:
        actor, device, command_id = event.command
        assert actor == device == event.device
        assert event.id == str(event_id(actor, device, command_id, 0))
