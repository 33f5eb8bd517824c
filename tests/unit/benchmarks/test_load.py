import json

import pytest

from benchmarks import wire
from benchmarks.load import Commands, Load


@pytest.mark.parametrize("command", ["report", "register", "connect"])
def test_a_command_put_together_from_pieces_is_a_whole_packet(command: str) -> None:
    commands = Commands(Load("pump", 12, command=command, root="edge/gw1"))
    reader = wire.Reader()
    (packet,) = reader.packets(commands.packet(11, 42, b"\x00\x07"))
    message = wire.read_message(packet)
    assert message.topic == f"edge/gw1/cmd/pump-11/pump-11/{command}".encode()
    assert message.packet_id == b"\x00\x07"
    assert json.loads(message.payload)["data"]


def test_each_report_has_an_id_and_a_value_of_its_own() -> None:
    commands = Commands(Load("pump", 1, root="edge/gw1"))
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
        (packet,) = wire.Reader().packets(Commands(Load("pump", 1, root="edge/gw1")).packet(0, 0, b"\x00\x07"))
        values.append(json.loads(wire.read_message(packet).payload)["data"]["properties"]["rpm"])
    assert values[0] != values[1]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_an_answer_tells_which_command_it_is_for_however_its_json_is_spaced(separators: tuple[str, str]) -> None:
    commands = Commands(Load("pump", 1, root="edge/gw1"))
    (packet,) = wire.Reader().packets(commands.packet(0, 4_711, b"\x00\x07"))
    command_id = json.loads(wire.read_message(packet).payload)["command_id"]
    answer = json.dumps({"status": "accepted", "command_id": command_id}, separators=separators).encode()
    assert commands.number(answer) == 4_711


def test_the_answer_to_an_earlier_run_is_none_of_this_one() -> None:
    commands = Commands(Load("pump", 1, root="edge/gw1"))
    assert commands.number(b'{"command_id": "01890000-0000-7000-8000-000000000001"}') is None
