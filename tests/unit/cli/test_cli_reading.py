"""The subcommands that look at the state directory: what they print is current, and they write nothing."""

import csv
from pathlib import Path
from uuid import UUID

import pytest

from gateway.domain.device_events import AlarmCleared, AlarmRaised, DeviceConnected, DeviceRegistered
from gateway.ids import event_id
from gateway.messages import ErrorDetail, NewEvent, Outcome, Verdict
from tests.support.command_line import Run
from tests.support.gateway_state import AT, GatewayState

READING = [
    ("devices",),
    ("device", "pump-7"),
    ("history", "pump-7"),
    ("state", "pump-7", "--at", "0"),
    ("diff", "pump-7", "0", "1"),
    ("alarms",),
    ("outcome", "c-1"),
    ("trace", "c-1"),
    ("outages",),
    ("verify",),
]


def refusal(command_id: str, actor: str, device: str) -> Verdict:
    error = ErrorDetail("already-registered", "registered with other data", "data.model", "T-1")
    outcome = Outcome(422, bytes(16), AT, revision=0, error=error, persisted_at=AT)
    return Verdict(event_id(actor, device, command_id, 0), command_id, actor, device, "register", outcome)


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_devices_are_listed_by_id(on_state: Run, pump: GatewayState) -> None:
    pump.take(DeviceRegistered(at=AT, model="T-800"), device="fan-1", command_id="c-9")
    assert on_state("devices").lines == [
        ["id", "model", "status", "revision", "alarms", "last", "seen"],
        ["fan-1", "T-800", "offline", "0", "0", "-"],
        ["pump-7", "T-1000", "online", "2", "1", "2026-03-01T12:00:00.123456Z"],
    ]


@pytest.mark.usefixtures("pump")
def test_of_a_device_some_fields_can_be_had_now_and_then(on_state: Run) -> None:
    fields = ("--field", "model", "--field", "configuration.version", "--field", "nothing")
    [now] = on_state("device", "pump-7", "--json", *fields).objects
    assert now == {"id": "pump-7", "model": "T-1000", "configuration.version": 0}
    [then] = on_state("state", "pump-7", "--at", "0", "--json", *fields).objects
    assert then["state"] == {"model": "T-1000", "configuration.version": 0}


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (("--filter", '{"model": "T-800"}'), ["fan-1"]),
        (("--sort=-id",), ["pump-7", "fan-1"]),
        (("--sort", "model"), ["pump-7", "fan-1"]),
        (("--filter", "{}", "--sort", "revision"), ["fan-1", "pump-7"]),
    ],
)
def test_devices_are_filtered_and_sorted(
    on_state: Run, pump: GatewayState, options: tuple[str, ...], ids: list[str]
) -> None:
    pump.take(DeviceRegistered(at=AT, model="T-800"), device="fan-1", command_id="c-9")
    assert [document["id"] for document in on_state("devices", "--json", *options).objects] == ids


def test_an_empty_log_has_no_devices(on_state: Run) -> None:
    ran = on_state("devices", "--json")
    assert (ran.status, ran.objects) == (0, [])


def test_what_is_shown_includes_the_events_after_the_checkpoint(on_state: Run, pump: GatewayState) -> None:
    pump.flush()
    pump.take(AlarmCleared(at=AT, code="hot"), command_id="c-4")
    [shown] = on_state("device", "pump-7", "--json").objects
    assert (shown["revision"], shown["alarms"]) == (3, {})


@pytest.mark.parametrize("content", [b"", b"{", b'{"checkpoint": {"1": {"log_id": "x"}}}'])
def test_a_damaged_cache_file_does_not_matter(on_state: Run, pump: GatewayState, content: bytes) -> None:
    pump.cache.write_bytes(content)
    [shown] = on_state("device", "pump-7", "--json").objects
    assert shown["revision"] == 2


def test_a_cache_file_that_is_ahead_of_the_log_is_not_believed(on_state: Run, pump: GatewayState) -> None:
    older = files(pump.directory)
    pump.take(AlarmCleared(at=AT, code="hot"), command_id="c-4")
    pump.flush()
    for name, content in older.items():
        (pump.directory / name).write_bytes(content)
    [shown] = on_state("device", "pump-7", "--json").objects
    assert (shown["revision"], list(shown["alarms"])) == (2, ["hot"])


@pytest.mark.usefixtures("pump")
def test_a_device_is_shown_with_all_its_fields(on_state: Run) -> None:
    shown = dict(line for line in on_state("device", "pump-7").lines if len(line) == 2)
    assert shown.items() >= {"id": "pump-7", "model": "T-1000", "alarms.hot.severity": "info", "revision": "2"}.items()


def test_a_device_with_an_event_that_cannot_be_read_is_listed_as_degraded(on_state: Run, pump: GatewayState) -> None:
    pump.take_foreign(NewEvent(UUID(int=1), "PumpExploded", b"{}", b'{"v": 1}'))
    assert on_state("devices").lines[1][2] == "degraded"


@pytest.mark.usefixtures("pump")
@pytest.mark.parametrize(
    "command",
    [("device", "pump-8"), ("history", "pump-8"), ("state", "pump-8", "--at", "0"), ("diff", "pump-8", "0", "1")],
)
def test_an_unknown_device_is_a_negative_answer(on_state: Run, command: tuple[str, ...]) -> None:
    ran = on_state(*command)
    assert (ran.status, ran.out, ran.err) == (1, "", "edge-gateway: there is no device pump-8\n")


@pytest.mark.usefixtures("pump")
@pytest.mark.parametrize(
    "command",
    [
        ("state", "pump-7", "--at", "yesterday"),
        ("state", "pump-7", "--at", "2026-03-01T12:00:00"),
        ("diff", "pump-7", "0"),
        ("diff", "pump-7", "0", "x"),
        ("device", "pump/7"),
        ("trace",),
        ("trace", "c-1", "--correlation", "c-1"),
        ("trace", "--event", "e-1"),
        ("devices", "--json", "--csv"),
        ("devices", "--filter", "status=online"),
        ("history", "pump-7", "--newest", "--after", "1"),
    ],
)
def test_a_question_that_cannot_be_asked_is_a_usage_error(on_state: Run, command: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        on_state(*command)
    assert ended.value.code == 2


@pytest.mark.usefixtures("pump")
@pytest.mark.parametrize("subcommand", [("history", "pump-7", "--follow")])
def test_what_never_ends_cannot_be_asked_of_a_directory(on_state: Run, subcommand: tuple[str, ...]) -> None:
    ran = on_state(*subcommand)
    assert (ran.status, ran.out) == (2, "")
    assert "--remote" in ran.err


@pytest.mark.usefixtures("pump")
def test_what_goes_on_is_not_told_newest_first(on_state: Run) -> None:
    ran = on_state("history", "pump-7", "--follow", "--newest")
    assert (ran.status, ran.out, "leave out --newest" in ran.err) == (2, "", True)


@pytest.mark.usefixtures("pump")
def test_a_number_beyond_every_revision_is_refused_and_no_fault(on_state: Run) -> None:
    ran = on_state("state", "pump-7", "--at", str(2**63))
    assert (ran.status, ran.out) == (65, "")
    assert "less than or equal" in ran.err


@pytest.mark.usefixtures("pump")
def test_the_state_is_shown_as_it_was(on_state: Run) -> None:
    states = [on_state("state", "pump-7", "--at", revision, "--json").objects[0] for revision in "012"]
    assert [(state["revision"], list(state["state"]["alarms"])) for state in states] == [(0, []), (1, []), (2, ["hot"])]
    [now] = on_state("state", "pump-7", "--at", "2999-01-01T00:00:00+01:00", "--json").objects
    assert now == states[2]
    assert ["revision", "1"] in on_state("state", "pump-7", "--at", "1").lines
    assert on_state("state", "pump-7", "--at", "2000-01-01T00:00:00Z").status == 1


@pytest.mark.usefixtures("pump")
def test_a_difference_is_shown_change_by_change(on_state: Run) -> None:
    ran = on_state("diff", "pump-7", "1", "2")
    assert ["add", "/alarms/hot"] in [line[:2] for line in ran.lines]
    assert ran.err.startswith("from revision 1 (")
    [whole] = on_state("diff", "pump-7", "1", "2", "--json").objects
    assert len(whole["patch"]) == len(ran.lines)
    assert (on_state("diff", "pump-7", "2", "2").out, on_state("diff", "pump-7", "2", "2").status) == ("", 0)
    assert on_state("diff", "pump-7", "-1", "0").err.startswith("from before its first event to revision 0")


def test_alarms_are_listed_of_all_devices_or_of_one(on_state: Run, pump: GatewayState) -> None:
    pump.take(DeviceRegistered(at=AT, model="T-800"), device="fan-1", command_id="c-9")
    pump.take(AlarmRaised(at=AT, code="loud", severity="critical"), device="fan-1", command_id="c-10")
    assert [line[1:4] for line in on_state("alarms").lines] == [
        ["at", "severity", "device"],
        ["critical", "fan-1", "loud"],
        ["info", "pump-7", "hot"],
    ]
    assert [(one["device"], one["code"]) for one in on_state("alarms", "fan-1", "--json").objects] == [
        ("fan-1", "loud")
    ]
    assert on_state("alarms", "nobody", "--json").objects == []


def test_devices_are_written_for_a_spreadsheet(on_state: Run, pump: GatewayState) -> None:
    pump.take(DeviceRegistered(at=AT, model='T-800, "new"\n'), device="fan-1", command_id="c-9")
    rows = list(csv.reader(on_state("devices", "--csv").out.splitlines()))
    assert rows == [
        ["id", "model", "status", "revision", "alarms", "last_seen"],
        ["fan-1", 'T-800, "new"\\n', "offline", "0", "0", ""],
        ["pump-7", "T-1000", "online", "2", "1", "2026-03-01T12:00:00.123456Z"],
    ]


@pytest.mark.usefixtures("pump")
def test_a_trace_leads_from_command_event_and_course_to_the_command(on_state: Run) -> None:
    event = str(event_id("alice", "pump-7", "c-3", 0))
    found = [on_state("trace", *start, "--json") for start in (["c-3"], ["--event", event], ["--correlation", "c-3"])]
    assert [
        [(one["command_id"], [event["id"] for event in one["events"]]) for one in ran.objects] for ran in found
    ] == [[("c-3", [event])]] * 3
    assert found[2].err == "looked at the log behind position 2, up to 3\n"
    command, caused = on_state("trace", "c-3").lines
    assert (command[1:4], caused[:4]) == (["alice", "configure", "pump-7"], ["->", "2", "AlarmRaised", event])


@pytest.mark.usefixtures("pump")
def test_a_trace_of_what_nobody_sent_is_a_negative_answer(on_state: Run) -> None:
    for start in (["c-99"], ["--event", str(UUID(int=1))], ["c-3", "--by", "bob"], ["c-3", "--device", "fan-1"]):
        ran = on_state("trace", *start)
        assert (ran.status, ran.out) == (1, "")


@pytest.mark.usefixtures("pump")
def test_the_history_tells_who_did_what_by_which_command(on_state: Run) -> None:
    told = on_state("history", "pump-7", "--json").objects
    assert [(one["revision"], one["type"], one["actor"], one["command_id"]) for one in told] == [
        (0, "DeviceRegistered", "pump-7", "c-1"),
        (1, "DeviceConnected", "pump-7", "c-2"),
        (2, "AlarmRaised", "alice", "c-3"),
    ]
    assert told[2]["data"]["code"] == "hot"
    assert [line[1:5] for line in on_state("history", "pump-7").lines[1:]] == [
        ["0", "DeviceRegistered", "pump-7", "c-1"],
        ["1", "DeviceConnected", "pump-7", "c-2"],
        ["2", "AlarmRaised", "alice", "c-3"],
    ]


@pytest.mark.usefixtures("pump")
@pytest.mark.parametrize(
    ("bounds", "revisions"),
    [
        (("--limit", "2"), [0, 1]),
        (("--after", "0"), [1, 2]),
        (("--after", "0", "--limit", "1"), [1]),
        (("--after", "-1"), [0, 1, 2]),
        (("--after", "2"), []),
        (("--newest",), [2, 1, 0]),
        (("--newest", "--limit", "2"), [2, 1]),
        (("--type", "AlarmRaised"), [2]),
        (("--type", "AlarmRaised", "--type", "DeviceRegistered", "--newest"), [2, 0]),
        (("--since", "2020-01-01T00:00:00Z"), [0, 1, 2]),
        (("--since", "2999-01-01T00:00:00Z"), []),
    ],
)
def test_the_history_can_be_bounded(on_state: Run, bounds: tuple[str, ...], revisions: list[int]) -> None:
    ran = on_state("history", "pump-7", "--json", *bounds)
    assert (ran.status, [one["revision"] for one in ran.objects]) == (0, revisions)


def test_a_long_history_is_told_in_full_under_one_heading(on_state: Run, state: GatewayState) -> None:
    state.take(*[DeviceConnected(at=AT)] * 1_203)
    lines = on_state("history", "pump-7").lines
    assert [line[1] for line in lines] == ["revision", *map(str, range(1_203))]


def test_the_history_shows_what_cannot_be_read_as_it_is(on_state: Run, pump: GatewayState) -> None:
    pump.take_foreign(NewEvent(UUID(int=1), "Odd", b"no\x1b JSON", b"nor this"))
    last = on_state("history", "pump-7", "--json").objects[-1]
    assert (last["type"], last["actor"], last["data"]) == ("Odd", None, "no\x1b JSON")


@pytest.mark.usefixtures("pump")
def test_the_outcome_of_an_accepted_command_is_the_original_answer(on_state: Run) -> None:
    [told] = on_state("outcome", "c-3", "--json").objects
    assert told["events"] == [{"id": str(event_id("alice", "pump-7", "c-3", 0)), "type": "AlarmRaised", "revision": 2}]
    assert (told["status"], told["code"], told["actor"], told["device"]) == ("accepted", 200, "alice", "pump-7")
    assert (told["revision"], told["position"], told["received_at"]) == (2, 3, "2026-03-01T12:00:00.123456Z")


def test_the_outcome_of_a_refused_command_says_why(on_state: Run, pump: GatewayState) -> None:
    pump.remember(refusal("c-5", "alice", "pump-7"))
    [told] = on_state("outcome", "c-5", "--json").objects
    assert (told["status"], told["code"]) == ("rejected", 422)
    assert told["error"] == {
        "type": "already-registered",
        "message": "registered with other data",
        "field": "data.model",
        "value": "T-1",
    }


def test_an_id_that_several_used_has_an_outcome_for_each(on_state: Run, pump: GatewayState) -> None:
    pump.remember(refusal("c-3", "bob", "fan-1"))
    pump.remember(refusal("c-3", "bob", "pump-7"))
    both = on_state("outcome", "c-3", "--json").objects
    assert sorted((one["actor"], one["device"]) for one in both) == [
        ("alice", "pump-7"),
        ("bob", "fan-1"),
        ("bob", "pump-7"),
    ]
    assert on_state("outcome", "c-3").out.count("\n\n") == 2
    assert [one["device"] for one in on_state("outcome", "c-3", "--device", "fan-1", "--json").objects] == ["fan-1"]


@pytest.mark.usefixtures("pump")
def test_an_unknown_command_id_is_a_negative_answer(on_state: Run) -> None:
    ran = on_state("outcome", "c-99")
    assert (ran.status, ran.out, ran.err) == (1, "", "unknown: c-99\n")


@pytest.mark.parametrize("command", READING)
def test_looking_changes_nothing_in_the_state_directory(
    on_state: Run, pump: GatewayState, command: tuple[str, ...]
) -> None:
    pump.flush()
    before = files(pump.directory)
    assert on_state(*command).status == 0
    assert files(pump.directory) == before


@pytest.mark.parametrize("command", [*READING, ("rebuild",)])
def test_a_directory_without_a_log_is_an_error_and_stays_as_it_is(
    cli: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(f'[gateway]\nstate_dir = "{tmp_path}/nowhere"\n')
    ran = cli(*command, "--config", config)
    assert (ran.status, ran.out) == (78, "")
    assert "nowhere" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.toml"]
