"""What ``send`` makes of its arguments, of its settings and of an answer; that it really sends is tested end to end."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main, send
from gateway.cli.broker_options import default_actor, with_flags
from gateway.errors import SettingsError
from gateway.settings import MqttSettings, Settings


def parse(*arguments: str) -> Namespace:
    parser = ArgumentParser()
    send.add_options(parser)
    return parser.parse_args(["pump-7", "configure", *arguments])


def envelope(*arguments: str) -> dict[str, Any]:
    return send._envelope(parse(*arguments))


def mqtt(*arguments: str, **settings: Any) -> MqttSettings:
    given = Settings(mqtt=MqttSettings.model_validate(settings))
    return with_flags(given, parse(*arguments)).mqtt


@pytest.mark.parametrize(
    ("arguments", "data"),
    [
        ((), {}),
        (("model=T-1000",), {"model": "T-1000"}),
        (("rpm=1200", "on=true", "note=null"), {"rpm": 1200, "on": True, "note": None}),
        (('firmware="1.4"',), {"firmware": "1.4"}),
        (('properties={"rpm": 800}',), {"properties": {"rpm": 800}}),
        (("reason=a=b", "note="), {"reason": "a=b", "note": ""}),
        (("reason=NaN",), {"reason": "NaN"}),
        (("--data", '{"model": "T-1000"}'), {"model": "T-1000"}),
    ],
)
def test_data_is_given_as_fields_or_as_json(arguments: tuple[str, ...], data: dict[str, Any]) -> None:
    assert envelope(*arguments)["data"] == data


@pytest.mark.parametrize(
    "arguments",
    [
        ("--data", "[]"),
        ("--data", "{"),
        ("--data", '{"rpm": NaN}'),
        ("rpm",),
        ("=1",),
        ("rpm=1", "--data", "{}"),
        ("--actor", "a/b"),
        ("--id", "x" * 65),
        ("--id", "a\nb"),
        ("--timeout", "0"),
        ("--timeout", "inf"),
        ("--timeout", "soon"),
        ("--expected-revision", "-2"),
        ("--expected-revision", "new"),
        ("--wait-for", "ever"),
        ("--port", "0"),
    ],
)
def test_an_argument_that_cannot_be_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["send", "pump-7", "configure", *arguments])
    assert ended.value.code == 2


@pytest.mark.parametrize("names", [("pump/7", "configure"), ("pump-7", "con+figure"), ("", "configure")])
def test_a_device_or_command_that_is_no_name_is_a_usage_error(names: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["send", *names])
    assert ended.value.code == 2


def test_the_envelope_holds_what_was_asked_for_and_nothing_else() -> None:
    assert envelope("--id", "c-1").keys() == {"command_id", "data"}
    assert envelope("--id", "c-1", "--expected-revision", "0", "--wait-for", "projected", "--dry-run") == {
        "command_id": "c-1",
        "data": {},
        "expected_revision": 0,
        "wait_for": "projected",
        "dry_run": True,
    }


def test_without_an_id_each_command_has_a_new_one_of_version_7() -> None:
    first, second = (envelope()["command_id"] for _ in range(2))
    assert first != second
    assert first[14] == "7"


@pytest.mark.parametrize(
    ("username", "user", "actor"),
    [("alice", "bob", "alice"), (None, "bob", "bob"), (None, "b b", "operator"), (None, None, "operator")],
)
def test_the_actor_is_by_default_the_one_that_the_broker_will_know(
    monkeypatch: pytest.MonkeyPatch, username: str | None, user: str | None, actor: str
) -> None:
    if user is None:
        monkeypatch.delenv("USER", raising=False)
    else:
        monkeypatch.setenv("USER", user)
    assert default_actor(username) == actor


@pytest.mark.parametrize(
    ("ack", "status"),
    [
        ({"status": "accepted", "code": 201}, 0),
        ({"status": "accepted", "code": 204}, 0),
        ({"status": "rejected", "code": 422}, 65),
        ({"status": "rejected", "code": 409}, 65),
        ({"status": "rejected", "code": 403}, 77),
        ({"status": "deferred", "code": 202}, 75),
        ({"status": "deferred", "code": 503}, 75),
        (None, 75),
    ],
)
def test_the_exit_status_is_the_verdict(ack: dict[str, Any] | None, status: int) -> None:
    assert send._verdict(ack) == status


def test_the_broker_is_the_one_of_the_settings() -> None:
    found = mqtt(host="broker", port=8883, socket="s", username="_gateway", password="hush", root="site/gw1")
    assert (found.host, found.port, found.socket, found.root) == ("broker", 8883, "s", "site/gw1")
    assert (found.username, found.password.get_secret_value()) == ("_gateway", "hush")


def test_flags_go_before_the_settings() -> None:
    found = mqtt("--host", "other", "--port", "1884", "--root", "site/gw2", host="broker", socket="s", root="site/gw1")
    assert (found.host, found.port, found.socket, found.root) == ("other", 1884, "", "site/gw2")


def test_another_user_never_gets_the_gateways_password(tmp_path: Path) -> None:
    assert mqtt("--username", "alice", username="_gateway", password="hush").password.get_secret_value() == ""
    secret = tmp_path / "password"
    secret.write_text("own secret\n")
    found = mqtt("--username", "alice", "--password-file", str(secret), username="_gateway", password="hush")
    assert (found.username, found.password.get_secret_value()) == ("alice", "own secret")


@pytest.mark.parametrize(
    "arguments", [("--port", "99999"), ("--root", "a/#"), ("--host", ""), ("--password-file", "/nonexistent/file")]
)
def test_a_flag_that_no_setting_could_be_is_told_by_its_name(arguments: tuple[str, str]) -> None:
    with pytest.raises(SettingsError, match=f"^{arguments[0]}: "):
        mqtt(*arguments)
