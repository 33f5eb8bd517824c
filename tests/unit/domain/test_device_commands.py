from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import to_json

from gateway.domain.decider import Command, Role
from gateway.domain.device import DEVICE
from gateway.domain.device_commands import (
    MAX_ENTRIES,
    MAX_PROPERTIES,
    MAX_SAFE_INTEGER,
    MAX_VALUE_BYTES,
    Annotate,
    Configure,
    RaiseAlarm,
    RefuseConfiguration,
    Register,
    Report,
)

FROM_BOTH = {"register", "raise-alarm", "clear-alarm"}
FROM_DEVICES = {"connect", "disconnect", "report", "refuse-configuration"}
FROM_OPERATORS = {"configure", "acknowledge-alarm", "annotate", "suspend", "resume", "decommission", "recommission"}


def read(cls: type[Command], **data: Any) -> Command:
    return cls.model_validate_json(to_json(data))


def refuse(cls: type[Command], **data: Any) -> None:
    with pytest.raises(ValidationError):
        read(cls, **data)


@pytest.mark.parametrize(
    ("names", "issuers"),
    [(FROM_BOTH, {Role.DEVICE, Role.OPERATOR}), (FROM_DEVICES, {Role.DEVICE}), (FROM_OPERATORS, {Role.OPERATOR})],
)
def test_each_command_comes_from_those_whom_the_table_names(names: set[str], issuers: set[Role]) -> None:
    assert {command.name for command in DEVICE.commands if command.issuers == issuers} == names


def test_each_field_of_a_command_is_described() -> None:
    fields = [(command.name, *item) for command in DEVICE.commands for item in command.model_fields.items()]
    assert [f"{command}.{name}" for command, name, field in fields if not field.description] == []


@pytest.mark.parametrize("command", DEVICE.commands, ids=lambda command: command.name)
def test_a_field_that_a_command_does_not_have_is_refused(command: type[Command]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        read(command, surplus=1)


@pytest.mark.parametrize("name", ["a", "rpm", "motor.rpm_2", "a" * 64])
def test_a_property_name_of_lower_case_words_is_taken(name: str) -> None:
    assert read(Report, properties={name: 1}) == Report(properties={name: 1})


@pytest.mark.parametrize("name", ["", "Rpm", "2nd", "_x", "a-b", "a b", "a\n", "\na", "é", "a١", "a" * 65])
@pytest.mark.parametrize("cls", [Report, Configure])
def test_any_other_property_name_is_refused(cls: type[Command], name: str) -> None:
    refuse(cls, properties={name: 1})


@pytest.mark.parametrize("value", [None, True, 0, MAX_SAFE_INTEGER, -MAX_SAFE_INTEGER, 1.5, 1e300, "", [], {}, [{}]])
def test_any_json_is_a_property_value(value: Any) -> None:
    read(Report, properties={"a": value})


@pytest.mark.parametrize("number", [MAX_SAFE_INTEGER + 1, -MAX_SAFE_INTEGER - 1, 10**40])
def test_an_integer_that_json_readers_cannot_keep_is_refused_however_deep(number: int) -> None:
    refuse(Report, properties={"a": number})
    refuse(Configure, properties={"a": [{"b": [number]}]})


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("cls", [Report, Configure])
def test_a_number_that_is_not_finite_is_refused_however_deep(cls: type[Command], number: str) -> None:
    for body in (f'{{"properties": {{"a": {number}}}}}', f'{{"properties": {{"a": [{{"b": {number}}}]}}}}'):
        with pytest.raises(ValidationError, match="must be a finite number"):
            cls.model_validate_json(body)


@pytest.mark.parametrize("quoted", [False, True], ids=["array", "text"])
def test_a_value_may_have_as_many_bytes_as_the_limit_says_and_not_one_more(*, quoted: bool) -> None:
    fits: Any = "x" * (MAX_VALUE_BYTES - 2) if quoted else ["x" * (MAX_VALUE_BYTES - 4)]
    over: Any = fits + "x" if quoted else [*fits[:-1], fits[-1] + "x"]
    read(Report, properties={"a": fits})
    refuse(Report, properties={"a": over})


def test_bytes_are_counted_not_characters() -> None:
    refuse(Report, properties={"a": "é" * (MAX_VALUE_BYTES // 2)})


@pytest.mark.parametrize("cls", [Report, Configure])
def test_one_command_names_at_least_one_property_and_no_more_than_a_device_has(cls: type[Command]) -> None:
    read(cls, properties={f"p{number}": 1 for number in range(MAX_PROPERTIES)})
    refuse(cls, properties={f"p{number}": 1 for number in range(MAX_PROPERTIES + 1)})
    refuse(cls, properties={})


@pytest.mark.parametrize("time", ["2026-03-01T12:00:00", "yesterday", 1_772_366_400])
def test_a_time_of_measurement_without_an_offset_is_refused(time: Any) -> None:
    refuse(Report, properties={"a": 1}, measured_at=time)


def test_words_by_name_are_bounded_in_number_name_and_length() -> None:
    read(Register, model="T", attributes={f"a{number}": "x" * 256 for number in range(MAX_ENTRIES)})
    refuse(Register, model="T", attributes={f"a{number}": "x" for number in range(MAX_ENTRIES + 1)})
    refuse(Register, model="T", attributes={"a": "x" * 257})
    refuse(Annotate, labels={"Line": "4"})
    refuse(Annotate, labels={"line": 4})


@pytest.mark.parametrize("model", ["", "x" * 129, "a\nb", "a\x00", 7, None])
def test_a_model_is_one_short_printable_line(model: Any) -> None:
    read(Register, model="Zentrifuge № 7")
    refuse(Register, model=model)


@pytest.mark.parametrize("text", ["", "x" * 513])
def test_a_text_is_neither_empty_nor_longer_than_512_characters(text: str) -> None:
    read(RaiseAlarm, code="hot", severity="info", message="x" * 512)
    refuse(RaiseAlarm, code="hot", severity="info", message=text)


@pytest.mark.parametrize("code", ["hot", "E-101", "motor:3.overheat", "9"])
def test_an_alarm_code_is_a_word_as_makers_print_it(code: str) -> None:
    assert read(RaiseAlarm, code=code, severity="info") == RaiseAlarm(code=code, severity="info")


@pytest.mark.parametrize("code", ["", "-1", "too hot", "a/b", "hot\n", "x" * 65])
def test_any_other_alarm_code_is_refused(code: str) -> None:
    refuse(RaiseAlarm, code=code, severity="info")


def test_severity_is_one_of_three() -> None:
    refuse(RaiseAlarm, code="hot", severity="fatal")


@pytest.mark.parametrize("version", [0, -1, 1.0, "1", True])
def test_a_version_is_a_whole_number_from_1(version: Any) -> None:
    refuse(RefuseConfiguration, version=version, reason="no")


def test_the_schema_tells_a_property_names_pattern() -> None:
    assert list(Report.model_json_schema()["properties"]["properties"]["patternProperties"]) == [
        "^[a-z][a-z0-9_.]{0,63}$"
    ]
