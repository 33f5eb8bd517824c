import re
import tomllib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.domain.device import DEVICE
from gateway.errors import SettingsError
from gateway.setting_checks import headers
from gateway.settings import OperatorSettings, ReadModelSettings, Settings, load_deciders, load_projections
from gateway.settings_loader import Loaded, load_settings

SAMPLE = Path(__file__).parents[2] / "config" / "gateway.toml"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


def load(file: Path | None, **environ: str) -> Loaded:
    return load_settings(file, environ)


def errors(file: Path | None, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(file, environ)
    return str(caught.value).splitlines()


def test_the_sample_shows_every_key_with_its_default() -> None:
    shown = tomllib.loads(SAMPLE.read_text())
    defaults = Settings().model_dump(mode="json", exclude={"operators"})
    defaults["mqtt"]["password"] = ""
    assert shown == defaults


def test_the_sample_is_valid_and_changes_nothing() -> None:
    assert load(SAMPLE).settings == Settings()


def test_each_example_in_the_sample_is_valid_when_it_is_uncommented(file: Path) -> None:
    uncommented = SAMPLE.read_text().replace("# [[operators]]", "[[operators]]")
    for key in ("actors", "devices", "commands"):
        uncommented = uncommented.replace(f"# {key} = ", f"{key} = ")
    file.write_text(uncommented)
    assert load(file).settings.operators[0].actors == ("alice", "ops-*")


def test_all_errors_are_told_at_once_each_with_its_place(file: Path) -> None:
    file.write_text('[gateway]\nid = "a/b"\n\n[mqtt]\nprot = 1883\nport = 70000\nkeepalive = "soon"\n')
    assert errors(file, GATEWAY_LOG__LEVEL="loud") == [
        f"{file}:2: gateway.id: must be 1 to 64 of A-Z a-z 0-9 . _ : -, no sign first",
        f"{file}:6: mqtt.port: Input should be less than or equal to 65535",
        f"{file}:7: mqtt.keepalive: Input should be a valid integer",
        f"{file}:5: mqtt.prot: unknown key, did you mean 'port'?",
        "env GATEWAY_LOG__LEVEL: log.level: Input should be 'debug', 'info', 'warning' or 'error'",
    ]


def test_an_unknown_table_is_an_error_with_a_suggestion(file: Path) -> None:
    file.write_text("[limit]\nburst = 1\n")
    assert errors(file) == [f"{file}:1: limit: unknown key, did you mean 'limits'?"]


def test_an_unknown_table_is_an_error_even_if_it_is_empty(file: Path) -> None:
    file.write_text("[nothing]\n")
    assert errors(file, GATEWAY_NONE="{}") == [f"{file}:1: nothing: unknown key", "env GATEWAY_NONE: none: unknown key"]


def test_a_mistake_in_an_operator_rule_is_told_with_its_number(file: Path) -> None:
    file.write_text('[[operators]]\nactors = ["alice"]\n\n[[operators]]\ndevice = ["*"]\n')
    assert errors(file) == [
        f"{file}:4: operators.1.actors: Field required",
        f"{file}:5: operators.1.device: unknown key, did you mean 'devices'?",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[mqtt]\nport = "1883"', "2: mqtt.port: Input should be a valid integer"),
        ("[mqtt]\nport = true", "2: mqtt.port: Input should be a valid integer"),
        ('[mqtt]\ntls.enabled = "yes"', "2: mqtt.tls.enabled: Input should be a valid boolean"),
        ("[gateway]\nstate_dir = 1", "2: gateway.state_dir: must be a path, as text"),
        ("mqtt = 1", "1: mqtt: must be a table"),
        ('[domain]\ndeciders = "a:B"', "2: domain.deciders: must be an array"),
        ("[domain]\ndeciders = []", "2: domain.deciders: must not be empty"),
        ("[readmodel]\nflush_interval = inf", "2: readmodel.flush_interval: Input should be a finite number"),
    ],
)
def test_a_value_of_another_type_is_an_error(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    assert errors(file) == [f"{file}:{told}"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("[domain]\n# why\n\ndeciders = [\n  '*',\n  1,\n]\n", [4]),
        ('[mqtt]\nusername = """\n[mqtt]\nport = 0\n"""\nport = 0\n', [6]),
        ('[mqtt]\nusername = "\u2028 # \u2029"\nport = 0\n', [3]),
        ("[[operators]]\nactors = []\n[mqtt.tls]\n[mqtt]\n'port' = 0\n", [5, 2]),
        ("mqtt.port = 0\nmqtt.tls = {enabled = 1}\n", [1, 2]),
    ],
)
def test_the_line_is_where_the_key_begins_whatever_stands_before_it(file: Path, text: str, lines: list[int]) -> None:
    file.write_text(text)
    assert [told.removeprefix(f"{file}:").partition(": ")[0] for told in errors(file)] == [str(line) for line in lines]


@pytest.mark.parametrize("text", ["[mqtt]\nport = \n", "[mqtt]\nport = "])
def test_a_syntax_error_is_told_with_its_line(file: Path, text: str) -> None:
    file.write_text(text)
    [told] = errors(file)
    assert told.startswith(f"{file}:2: ")


DEEP = 3_000


@pytest.mark.parametrize(
    "text",
    [f"a = {'[' * DEEP}{']' * DEEP}", f"a = {'{a=' * DEEP}1{'}' * DEEP}", f"{'a.' * DEEP}a = 1", f"[{'a.' * DEEP}a]"],
    ids=["arrays", "tables", "dotted key", "dotted table"],
)
def test_what_is_nested_deeper_than_python_can_follow_is_an_error_like_any_other(file: Path, text: str) -> None:
    file.write_text(f"{text}\n")
    assert errors(file, GATEWAY_MQTT__PORT="[" * DEEP) == [
        f"{file}: nested too deep",
        "env GATEWAY_MQTT__PORT: nested too deep",
    ]


def test_a_file_that_is_named_must_exist(file: Path) -> None:
    assert errors(file) == [f"{file}: No such file or directory"]
    assert errors(None, GATEWAY_CONFIG=str(file)) == [f"{file}: No such file or directory"]


def test_a_file_that_is_not_text_is_an_error(file: Path) -> None:
    file.write_bytes(b"\xff")
    [told] = errors(file)
    assert "not UTF-8" in told


def test_the_layers_win_in_their_order(file: Path, tmp_path: Path) -> None:
    file.write_text('[mqtt]\nhost = "file"\nport = 1\nusername = "file"\npassword = "file"\n')
    conf_d = tmp_path / "conf.d"
    conf_d.mkdir()
    (conf_d / "10.toml").write_text('[mqtt]\nport = 2\nusername = "first"\npassword = "first"\n')
    (conf_d / "20.toml").write_text('[mqtt]\nusername = "second"\npassword = "second"\n')
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "mqtt_password").write_text("secret\n")
    loaded = load(file, GATEWAY_MQTT__USERNAME="environment", CREDENTIALS_DIRECTORY=str(credentials))
    mqtt = loaded.settings.mqtt
    assert (mqtt.host, mqtt.port, mqtt.username) == ("file", 2, "environment")
    assert mqtt.password.get_secret_value() == "secret"
    assert loaded.origins["mqtt.host"] == f"{file}:2"
    assert loaded.origins["mqtt.port"] == f"{conf_d / '10.toml'}:2"
    assert loaded.origins["mqtt.username"] == "env GATEWAY_MQTT__USERNAME"
    assert loaded.origins["mqtt.password"] == "credentials mqtt_password"


def test_a_table_and_a_value_of_the_same_name_in_two_layers_are_an_error(file: Path) -> None:
    file.write_text("mqtt = 1\n")
    assert f"env GATEWAY_MQTT__PORT: mqtt.port: mqtt is no table in {file}:1" in errors(file, GATEWAY_MQTT__PORT="1")


def test_an_empty_table_takes_nothing_away_from_an_earlier_layer(file: Path, tmp_path: Path) -> None:
    file.write_text("[mqtt]\nport = 1\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "10.toml").write_text("[mqtt]\n")
    assert load(file).settings.mqtt.port == 1


def test_a_later_layers_operators_take_the_place_of_the_earlier_ones(file: Path) -> None:
    file.write_text('[[operators]]\nactors = ["alice"]\n')
    loaded = load(file, GATEWAY_OPERATORS='[{actors = ["bob"]}]')
    assert [rule.actors for rule in loaded.settings.operators] == [("bob",)]
    assert loaded.origins["operators"] == "env GATEWAY_OPERATORS"
    assert errors(file, GATEWAY_OPERATORS="[{actors = []}]") == [
        "env GATEWAY_OPERATORS: operators.0.actors: must not be empty"
    ]


def test_drop_ins_count_in_the_order_of_their_names(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.touch()
    conf_d = tmp_path / "conf.d"
    conf_d.mkdir()
    named = [conf_d / "20.toml", conf_d / "10.toml", conf_d / "30.toml.old"]
    for number, drop_in in enumerate(named, start=1):
        drop_in.write_text(f"[mqtt]\nport = {number}\n")
    # a directory lists its files in whatever order it likes
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(named))
    assert load(file).origins["mqtt.port"] == f"{conf_d / '20.toml'}:2"


def test_a_drop_in_directory_that_cannot_be_read_is_an_error(file: Path, tmp_path: Path) -> None:
    file.touch()
    (tmp_path / "conf.d").touch()
    assert errors(file) == [f"{tmp_path / 'conf.d'}: Not a directory"]


def test_only_the_line_ends_of_a_credentials_file_are_stripped(tmp_path: Path) -> None:
    (tmp_path / "mqtt_password").write_text(" pass word \r\n\n")
    assert load(None, CREDENTIALS_DIRECTORY=str(tmp_path)).settings.mqtt.password.get_secret_value() == " pass word "


def test_a_credentials_file_that_is_not_text_is_an_error_that_tells_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "mqtt_password").write_bytes(b"hunter2\xff")
    assert errors(None, CREDENTIALS_DIRECTORY=str(tmp_path)) == [
        f"{tmp_path / 'mqtt_password'}: not UTF-8: invalid start byte"
    ]


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("GATEWAY_MQTT__PORT", "8883", 8883),
        ("GATEWAY_MQTT__TLS__ENABLED", "true", True),
        ("GATEWAY_LIMITS__COMMANDS_PER_SECOND", "0", 0.0),
        ("GATEWAY_MQTT__USERNAME", "007", "007"),
        ("GATEWAY_GATEWAY__ID", "true", "true"),
        ("GATEWAY_DOMAIN__DECIDERS", '["a:B"]', ("a:B",)),
        ("GATEWAY_OPERATORS", '[{actors = ["bob"]}]', None),
    ],
)
def test_the_environment_takes_values_as_toml_writes_them(variable: str, text: str, expected: Any) -> None:
    settings = load(None, **{variable: text}).settings
    if expected is None:
        assert settings.operators[0].actors == ("bob",)
        return
    value: Any = settings
    for name in variable.removeprefix("GATEWAY_").lower().split("__"):
        value = getattr(value, name)
    assert value == expected


def test_an_unknown_variable_is_an_error() -> None:
    assert errors(None, GATEWAY_MQTT__PROT="1") == [
        "env GATEWAY_MQTT__PROT: mqtt.prot: unknown key, did you mean 'port'?"
    ]


def test_secrets_are_never_shown(file: Path) -> None:
    file.write_text('[mqtt]\npassword = "hunter2"\nport = "hunter2"\n')
    assert "hunter2" not in "\n".join(errors(file))
    file.write_text('[mqtt]\npassword = "hunter2"\n')
    loaded = load(file)
    assert ("mqtt.password", "***", f"{file}:2") in list(loaded.rows())
    assert "hunter2" not in repr(loaded)


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o644, True), (0o640, True)])
def test_a_password_that_others_can_read_is_worth_a_warning(file: Path, mode: int, warned: bool) -> None:  # noqa: FBT001
    file.write_text('[mqtt]\npassword = "hunter2"\n')
    file.chmod(mode)
    assert bool(load(file).warnings) is warned


def test_every_key_is_told_with_its_origin() -> None:
    rows = {key: (value, origin) for key, value, origin in load(None, GATEWAY_MQTT__PORT="8883").rows()}
    assert rows["mqtt.port"] == ("8883", "env GATEWAY_MQTT__PORT")
    assert rows["gateway.id"] == ("gw1", "default")
    assert rows["mqtt.tls.enabled"] == ("false", "default")
    assert rows["gateway.state_dir"] == ("/var/lib/edge-gateway", "default")
    assert rows["domain.deciders"] == ('["gateway.domain:DECIDERS"]', "default")


@pytest.mark.parametrize("url", ["", "esdb://store:2113?Tls=false", "esdb+discover://cluster", "kdb://a:1,b:2"])
def test_the_events_may_live_in_another_store(file: Path, url: str) -> None:
    file.write_text(f'[event_store]\nurl = "{url}"\n')
    assert load(file).settings.event_store.url == url


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgres://store", "must be empty, or such as esdb://"),
        ("esdb:store", "must be empty, or such as esdb://"),
        ("esdb://admin:hunter2@store:2113", "must not hold a password"),
    ],
)
def test_a_store_that_cannot_be_used_is_refused_without_telling_its_password(file: Path, url: str, told: str) -> None:
    file.write_text(f'[event_store]\nurl = "{url}"\n')
    [line] = errors(file)
    assert line.startswith(f"{file}:2: event_store.url: {told}")
    assert "hunter2" not in line


def test_the_password_of_the_store_comes_as_a_credential(tmp_path: Path) -> None:
    (tmp_path / "event_store_password").write_text("secret\n")
    settings = load(None, CREDENTIALS_DIRECTORY=str(tmp_path)).settings
    assert settings.event_store.password.get_secret_value() == "secret"


@pytest.mark.parametrize("listen", ["", "127.0.0.1:9464", "[::1]:9464", "localhost:1", "unix:/run/gw/metrics.sock"])
def test_metrics_are_served_at_a_port_or_at_a_socket(file: Path, listen: str) -> None:
    file.write_text(f'[metrics]\nlisten = "{listen}"\n')
    assert load(file).settings.metrics.listen == listen


@pytest.mark.parametrize(
    "listen", ["9464", ":9464", "127.0.0.1", "127.0.0.1:0", "a:65536", "a:x", "unix:", "unix:/", "[]:1"]
)
def test_anything_else_is_no_place_for_metrics(file: Path, listen: str) -> None:
    file.write_text(f'[metrics]\nlisten = "{listen}"\n')
    [error] = errors(file)
    assert error.startswith(f"{file}:2: metrics.listen: must be empty, or such as 127.0.0.1:9464")


@pytest.mark.parametrize(
    "url", ["", "http://127.0.0.1:4318", "https://collector.example/v1/traces", "http://[::1]:4318"]
)
def test_spans_go_to_a_collector_over_http(file: Path, url: str) -> None:
    file.write_text(f'[tracing]\nendpoint = "{url}"\n')
    assert load(file).settings.tracing.endpoint == url


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("127.0.0.1:4318", "must be empty, or such as http://127.0.0.1:4318"),
        ("grpc://127.0.0.1:4317", "must be empty, or such as http://127.0.0.1:4318"),
        ("http://", "must be empty, or such as http://127.0.0.1:4318"),
        ("http://collector:x", "must be empty, or such as http://127.0.0.1:4318"),
        ("http://collector/?token=hunter2", "must be empty, or such as http://127.0.0.1:4318"),
        ("http://me:hunter2@collector:4318", "must not hold a password: use tracing.headers"),
    ],
)
def test_anything_else_is_no_place_for_spans_and_its_secrets_are_not_told(file: Path, url: str, told: str) -> None:
    file.write_text(f'[tracing]\nendpoint = "{url}"\n')
    [line] = errors(file)
    assert line.startswith(f"{file}:2: tracing.endpoint: {told}")
    assert "hunter2" not in line


def test_the_headers_for_the_collector_come_as_a_credential_and_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "tracing_headers").write_text("authorization=Bearer%20hunter2, x-tenant=plant-3,\n")
    loaded = load(None, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert headers(loaded.settings.tracing.headers.get_secret_value()) == {
        "authorization": "Bearer hunter2",
        "x-tenant": "plant-3",
    }
    assert "hunter2" not in repr(loaded)
    assert "hunter2" not in str(list(loaded.rows()))


@pytest.mark.parametrize("text", ["hunter2", "=hunter2", "a b=hunter2", "a=hunter2%0d%0ab: c", "a=hunter2,é=x", "a=é"])
def test_headers_that_cannot_be_sent_are_an_error_that_tells_nothing_of_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "tracing_headers").write_text(text)
    [line] = errors(None, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert "tracing.headers: must be such as authorization=Bearer%20TOKEN" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(("root", "expected"), [("", "edge/gw1"), ("site/7/edge", "site/7/edge")])
def test_the_root_of_the_topics_follows_the_gateways_id(root: str, expected: str) -> None:
    assert load(None, GATEWAY_MQTT__ROOT=root).settings.root == expected


@pytest.mark.parametrize("root", ["/edge", "edge/", "a//b", "edge/+", "#", "$SYS"])
def test_a_root_must_be_plain_levels(root: str) -> None:
    assert len(errors(None, GATEWAY_MQTT__ROOT=root)) == 1


def test_deciders_are_loaded_by_name() -> None:
    assert load_deciders(["gateway.domain:DECIDERS"]) == [DEVICE]
    assert load_deciders(["gateway.domain.device:DEVICE"]) == [DEVICE]


@pytest.mark.parametrize(
    "name",
    [
        "nowhere:X",
        ":X",
        ".relative:X",
        "gateway.domain:NOTHING",
        "gateway.domain",
        "gateway.ids:MAX_COMMAND_ID",
        "gateway.domain:__name__",
        "gateway:__path__",
    ],
)
def test_what_is_no_decider_is_told(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"^domain\.deciders: {re.escape(name)} "):
        load_deciders([name])


@pytest.mark.parametrize("text", ["x = (", "1 / 0", "DECIDERS = ()"])
def test_a_module_of_deciders_that_is_broken_or_empty_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    # a name of its own: a module that was once imported is remembered
    module = f"deciders_{zlib.crc32(text.encode())}"
    (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError, match=rf"^domain\.deciders: {module}:DECIDERS "):
        load_deciders([f"{module}:DECIDERS"])


PROJECTIONS = """
from gateway.custom_projection import CustomProjection
A, B = (CustomProjection(name, version=1, project=lambda document, told: document) for name in "ab")
BOTH = (A, B)
"""


@pytest.fixture
def projections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "projections_ab.py").write_text(PROJECTIONS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("projections")
@pytest.mark.parametrize("names", [("projections_ab:A", "projections_ab:B"), ("projections_ab:BOTH",)], ids=len)
def test_projections_are_loaded_by_name_one_or_several(names: tuple[str, ...]) -> None:
    assert [one.name for one in load_projections(ReadModelSettings(projections=names))] == ["a", "b"]


@pytest.mark.usefixtures("projections")
@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("projections_ab:A", "projections_ab:BOTH"), "a is there twice"),
        (("projections_ab:C",), "projections_ab:C cannot be imported: AttributeError"),
        (("gateway.domain:DECIDERS",), "gateway.domain:DECIDERS is no projection"),
    ],
    ids=["twice", "not there", "a decider"],
)
def test_projections_that_cannot_be_used_are_told(names: tuple[str, ...], told: str) -> None:
    with pytest.raises(SettingsError, match=f"^readmodel.projections: {told}"):
        load_projections(ReadModelSettings(projections=names))


@pytest.mark.parametrize("prefix", ["", "home/+", "a//b", "#"])
def test_the_prefix_of_home_assistant_must_be_plain_levels(prefix: str) -> None:
    assert len(errors(None, GATEWAY_HOMEASSISTANT__PREFIX=prefix)) == 1


def fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from fields(annotation)
        else:
            yield f"{model.__name__}.{name}", field


def test_every_setting_says_what_it_means() -> None:
    settings = dict([*fields(Settings), *fields(OperatorSettings)])
    assert [name for name, field in settings.items() if not field.description] == []
