import json

import pytest
from pydantic import TypeAdapter

from benchmarks import wire
from benchmarks.commands import Commands
from benchmarks.load import Load
from gateway.domain.device_commands import Report


@pytest.mark.parametrize("command", ["report", "register", "connect"])
def test_a_command_put_together_from_pieces_is_a_whole_packet(command: str) -> None:
    commands = Commands("edge/gw1", Load("pump", 12).names, command)
    reader = wire.Reader()
    (packet,) = reader.packets(commands.packet(11, 42, b"\x00\x07"))
    message = wire.read_message(packet)
    assert message.topic == f"edge/gw1/cmd/pump-11/pump-11/{command}".encode()
    assert message.packet_id == b"\x00\x07"
    assert json.loads(message.payload)["data"]


@pytest.mark.parametrize("size", [150, 1_024, 61_440])
def test_a_report_of_a_given_size_has_just_that_and_changes_in_each_value(size: int) -> None:
    commands = Commands("edge/gw1", ["pump-0"], "report", size)
    bodies = []
    for number in (1, 2):
        (packet,) = wire.Reader().packets(commands.packet(0, number, b"\x00\x07"))
        payload = wire.read_message(packet).payload
        assert len(payload) == size
        bodies.append(TypeAdapter(Report).validate_json(json.dumps(json.loads(payload)["data"])).properties)
    unchanged = [name for name, value in bodies[0].items() if bodies[1][name] == value]
    assert unchanged == ["temperature"]


def test_a_report_that_cannot_be_so_small_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        Commands("edge/gw1", ["pump-0"], "report", 100)


def test_a_load_can_begin_at_any_device() -> None:
    assert Load("pump", 2, first=7).names == ["pump-7", "pump-8"]


def test_each_report_has_an_id_and_a_value_of_its_own() -> None:
    commands = Commands("edge/gw1", ["pump-0"], "report")
    bodies = []
    for number in (1, 2):
        (packet,) = wire.Reader().packets(commands.packet(0, number, b"\x00\x07"))
        bodies.append(json.loads(wire.read_message(packet).payload))
    assert bodies[0]["command_id"] != bodies[1]["command_id"]
    assert bodies[0]["data"] != bodies[1]["data"]


def test_a_later_run_reports_other_values(monkeypatch: pytest.MonkeyPatch) -> None:
    values = []
    for clock in (1_000_000_000, 1_001_000_000):
        monkeypatch.setattr("time.time_ns", lambda clock=clock: clock)
        (packet,) = wire.Reader().packets(Commands("edge/gw1", ["pump-0"], "report").packet(0, 0, b"\x00\x07"))
        values.append(json.loads(wire.read_message(packet).payload)["data"]["properties"]["rpm"])
    assert values[0] != values[1]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_an_answer_tells_which_command_it_is_for_however_its_json_is_spaced(separators: tuple[str, str]) -> None:
    commands = Commands("edge/gw1", ["pump-0"], "report")
    (packet,) = wire.Reader().packets(commands.packet(0, 4_711, b"\x00\x07"))
    command_id = json.loads(wire.read_message(packet).payload)["command_id"]
    answer = json.dumps({"status": "accepted", "command_id": command_id}, separators=separators).encode()
    assert commands.number(answer) == 4_711


def test_the_answer_to_an_earlier_run_is_none_of_this_one() -> None:
    commands = Commands("edge/gw1", ["pump-0"], "report")
    assert commands.number(b'{"command_id": "01890000-0000-7000-8000-000000000001"}') is None
