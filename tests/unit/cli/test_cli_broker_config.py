import os
import stat
from pathlib import Path

import pytest

from tests.support.command_line import Run

SETTINGS = """
[mqtt]
root = "site/a"
socket = "/run/other/mqtt.sock"
port = 1884
session_expiry = 2592000
[[operators]]
actors = ["alice", "ops-*"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(SETTINGS)
    return path


def test_rules_and_configuration_follow_the_settings(cli: Run, config: Path) -> None:
    rules = cli("broker-config", "--acl", "--operator", "ops-1", "--config", config)
    assert (rules.status, rules.err) == (0, "")
    assert {"user alice", "user ops-1", "pattern write site/a/cmd/%u/+/+"} <= set(rules.out.splitlines())
    drop_in = cli("broker-config", "--drop-in", "--operator", "ops-1", "--config", config).out.splitlines()
    wanted = {"listener 0 /run/other/mqtt.sock", "listener 1884 127.0.0.1", "persistent_client_expiration 30d"}
    assert wanted <= set(drop_in)


@pytest.mark.parametrize(("options", "wanted"), [((), 30), (("--autosave-interval", "3600"), 3_600)])
def test_how_often_the_broker_saves_its_store_is_the_administrators_choice(
    cli: Run, options: tuple[str, ...], wanted: int
) -> None:
    lines = cli("broker-config", "--drop-in", "--defaults", *options).out.splitlines()
    assert [line for line in lines if line.startswith("autosave_interval")] == [f"autosave_interval {wanted}"]


def test_both_are_written_to_where_the_one_names_the_other_and_others_cannot_read_them(
    cli: Run, config: Path, tmp_path: Path
) -> None:
    top = tmp_path / "mosquitto"
    assert cli("broker-config", "--write", "--mosquitto", top, "--config", config).status == 0
    rules, drop_in = top / "edge-gateway.acl", top / "conf.d" / "edge-gateway.conf"
    assert f"acl_file {rules}" in drop_in.read_text().splitlines()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (rules, drop_in)} == {0o640}


def test_mosquitto_finds_its_files_wherever_it_is_started_and_whatever_the_umask_was(
    cli: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o077)
    try:
        cli("broker-config", "--write", "--mosquitto", "m", "--config", config)
    finally:
        os.umask(before)
    drop_in = (tmp_path / "m" / "conf.d" / "edge-gateway.conf").read_text().splitlines()
    assert f"acl_file {tmp_path / 'm' / 'edge-gateway.acl'}" in drop_in
    assert stat.S_IMODE((tmp_path / "m" / "conf.d").stat().st_mode) == 0o755


def test_whatever_mosquitto_lacks_to_let_the_gateway_in_is_told(cli: Run, config: Path, tmp_path: Path) -> None:
    command = ("broker-config", "--write", "--mosquitto", tmp_path / "m", "--config", config)
    told = cli(*command).err
    wanted = ("mqtt.username", "mosquitto_passwd -c", "broker-certificate", "/run/other/mqtt.sock")
    assert [one for one in wanted if one not in told] == []
    config.write_text(f'[mqtt]\nusername = "_gateway"\nsocket = "{tmp_path}/mqtt.sock"\n')
    (tmp_path / "m" / "edge-gateway.passwd").touch()
    (tmp_path / "m" / "certs").mkdir()
    (tmp_path / "m" / "certs" / "ca.crt").touch()
    assert "note" not in cli(*command).err


def test_a_port_that_is_none_is_refused(cli: Run) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli("broker-config", "--drop-in", "--defaults", "--devices-port", "65536")


def test_a_port_is_not_for_devices_and_for_tools_as_well(cli: Run, config: Path) -> None:
    ran = cli("broker-config", "--drop-in", "--devices-port", "1884", "--config", config)
    assert (ran.status, "mqtt.port" in ran.err) == (78, True)


def test_operators_whom_no_rule_can_name_are_told(cli: Run, config: Path) -> None:
    assert "ops-*" in cli("broker-config", "--acl", "--config", config).err


def test_a_username_that_a_device_could_have_is_refused(cli: Run, config: Path) -> None:
    config.write_text('[mqtt]\nusername = "gateway"\n')
    ran = cli("broker-config", "--write", "--mosquitto", config.parent / "m", "--config", config)
    assert (ran.status, (config.parent / "m").exists()) == (78, False)
    assert "mqtt.username" in ran.err


def test_a_directory_that_cannot_be_written_is_told(cli: Run, config: Path) -> None:
    ran = cli("broker-config", "--write", "--mosquitto", config / "x", "--config", config)
    assert (ran.status, "--mosquitto" in ran.err) == (78, True)
