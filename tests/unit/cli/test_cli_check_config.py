import sys
from pathlib import Path

import pytest

import gateway.adapters
from tests.support.command_line import Run


def write(directory: Path, text: str) -> Path:
    file = directory / "gateway.toml"
    file.write_text(text)
    file.chmod(0o644)
    return file


def test_right_settings_say_nothing_on_standard_output(cli: Run, tmp_path: Path) -> None:
    ran = cli("check-config", "--config", write(tmp_path, '[gateway]\nid = "gw7"\n'))
    assert (ran.status, ran.out, ran.err) == (0, "", "the settings are right\n")


def test_every_error_is_told_at_once(cli: Run, tmp_path: Path) -> None:
    ran = cli("check-config", "--config", write(tmp_path, '[mqtt]\nprot = 1\nport = 0\n[health]\ninterval = "x"\n'))
    assert (ran.status, ran.out) == (78, "")
    assert [line.split(": ")[1] for line in ran.err.splitlines()] == ["mqtt.port", "mqtt.prot", "health.interval"]


def test_a_missing_file_is_an_error(cli: Run, tmp_path: Path) -> None:
    assert cli("check-config", "--config", tmp_path / "missing.toml").status == 78


@pytest.mark.parametrize(
    "deciders", ['["gateway.nowhere:DEVICE"]', '["gateway.domain:DECIDERS", "gateway.domain:DECIDERS"]']
)
def test_deciders_that_cannot_be_used_are_errors(cli: Run, tmp_path: Path, deciders: str) -> None:
    ran = cli("check-config", "--config", write(tmp_path, f"[domain]\ndeciders = {deciders}\n"))
    assert ran.status == 78
    assert ran.err.startswith("domain.deciders: ")


def store_at(directory: Path, url: str) -> Path:
    return write(directory, f'[event_store]\nurl = "{url}"\n')


def test_a_store_that_is_away_is_no_error(cli: Run, tmp_path: Path) -> None:
    ran = cli("check-config", "--config", store_at(tmp_path, "esdb://127.0.0.1:1?Tls=false"))
    assert (ran.status, ran.err) == (0, "the settings are right\n")


def test_an_option_of_the_store_that_the_client_does_not_know_is_an_error(cli: Run, tmp_path: Path) -> None:
    ran = cli("check-config", "--config", store_at(tmp_path, "esdb://127.0.0.1:1?Tls=false&Sparkle=9"))
    assert ran.status == 78
    assert "sparkle" in ran.err.lower()


def test_a_client_library_that_is_missing_is_an_error(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # both may have been imported before
    for module in ("eventstoredb", "esdb_client"):
        monkeypatch.delitem(sys.modules, f"gateway.adapters.{module}", raising=False)
        monkeypatch.delattr(gateway.adapters, module, raising=False)
    for library in ("esdbclient", "kurrentdbclient"):
        monkeypatch.setitem(sys.modules, library, None)
    ran = cli("check-config", "--config", store_at(tmp_path, "esdb://127.0.0.1:1?Tls=false"))
    assert ran.status == 78
    assert "edge-gateway[kurrentdb]" in ran.err


TRACED = '[tracing]\nendpoint = "http://127.0.0.1:1"\n'


def test_a_collector_that_is_away_is_no_error(cli: Run, tmp_path: Path) -> None:
    ran = cli("check-config", "--config", write(tmp_path, TRACED))
    assert (ran.status, ran.err) == (0, "the settings are right\n")


def test_spans_without_the_library_are_an_error_with_its_remedy(
    cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "gateway.adapters.otel", raising=False)
    monkeypatch.delattr(gateway.adapters, "otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    ran = cli("check-config", "--config", write(tmp_path, TRACED))
    assert ran.status == 78
    assert ran.err.startswith("tracing.endpoint: needs OpenTelemetry")
    assert ran.err.endswith("install edge-gateway[otel]\n")


def test_each_value_is_shown_with_its_origin(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_MQTT__PORT", "1884")
    file = write(tmp_path, '[gateway]\nid = "gw7"\n')
    shown = {row["key"]: row for row in cli("check-config", "--show", "--json", "--config", file).objects}
    assert shown["gateway.id"] == {"key": "gateway.id", "value": "gw7", "origin": f"{file}:2"}
    assert shown["mqtt.port"] == {"key": "mqtt.port", "value": "1884", "origin": "env GATEWAY_MQTT__PORT"}
    assert shown["mqtt.host"] == {"key": "mqtt.host", "value": "127.0.0.1", "origin": "default"}


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_secrets_are_not_shown(cli: Run, tmp_path: Path, form: tuple[str, ...]) -> None:
    ran = cli("check-config", "--show", *form, "--config", write(tmp_path, '[mqtt]\npassword = "hush"\n'))
    assert "***" in ran.out
    assert "hush" not in ran.out + ran.err


def test_what_is_not_wrong_but_unwise_is_told(cli: Run, tmp_path: Path) -> None:
    ran = cli("check-config", "--config", write(tmp_path, '[mqtt]\npassword = "hush"\n'))
    assert ran.status == 0
    assert ran.err.startswith("warning: ")
