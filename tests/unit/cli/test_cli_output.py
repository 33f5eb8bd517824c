import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from gateway.cli.output import escaped, note, print_fields, print_json, print_table, shown

HOSTILE = "a\x1b[31mb\x07\x7f\u009b2J\u202ec\nd"


def test_a_terminal_obeys_nothing_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name",), [(HOSTILE,)])
    print_fields({HOSTILE: HOSTILE, "list": [HOSTILE]})
    print_json({HOSTILE: HOSTILE})
    note(HOSTILE)
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in [*out.split("\n"), *err.split("\n")])
    assert out.count("\n") == 2 + 2 + 1


def test_what_is_escaped_in_json_reads_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": HOSTILE})
    assert json.loads(capsys.readouterr().out) == {"text": HOSTILE}


def test_printable_text_of_any_language_stays_as_it_is() -> None:
    assert escaped("Größe 温度 €") == "Größe 温度 €"


def test_columns_are_aligned_without_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "model"), [("pump-7", "T-1000"), ("p", "")])
    assert capsys.readouterr().out == "id      model\npump-7  T-1000\np\n"


def test_a_table_without_heading_and_rows_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_table((), [])
    assert capsys.readouterr().out == ""


def test_fields_are_printed_with_their_paths(capsys: pytest.CaptureFixture[str]) -> None:
    print_fields({"id": "p", "desired": {"rpm": 1, "deep": {"er": None}}, "labels": {}})
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["id", "p"],
        ["desired.rpm", "1"],
        ["desired.deep.er", "-"],
        ["labels", "{}"],
    ]


def test_times_are_shown_in_utc() -> None:
    time = datetime(2026, 3, 1, 13, 0, 0, 123_456, tzinfo=timezone(timedelta(hours=1)))
    assert shown(time) == "2026-03-01T12:00:00.123Z"


def test_times_in_json_are_exact(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"time": datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)})
    assert json.loads(capsys.readouterr().out) == {"time": "2026-03-01T12:00:00.123456Z"}


def test_what_is_no_json_is_not_printed_as_something_else() -> None:
    with pytest.raises(TypeError, match="set is not for printing"):
        print_json({"value": set()})
