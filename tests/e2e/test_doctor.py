import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.broker import Broker
from tests.support.certificates import make_certificate
from tests.support.gateway_process import GatewayProcess, Sections
from tests.support.technician import ROOT

# none of it depends on where the events are
pytestmark = pytest.mark.embedded

PASSWD: Final = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
ACL: Final = f"user _gateway\ntopic read {ROOT}/cmd/#\ntopic write {ROOT}/ack/#\n\npattern write {ROOT}/cmd/%u/#\n"


@contextmanager
def strict_broker(directory: Path, **settings: str) -> Iterator[Broker]:
    """A broker with passwords and an ACL."""
    passwords, rules = directory / "passwords", directory / "acl"
    passwords.write_text("_gateway:secret\n")
    subprocess.run([PASSWD, "-U", passwords], check=True)
    passwords.chmod(0o600)
    rules.write_text(ACL)
    rules.chmod(0o600)
    own = {"allow_anonymous": "false", "password_file": str(passwords), "acl_file": str(rules), **settings}
    broker = Broker(directory / "broker", own)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def examined(
    directory: Path, port: int, mqtt: Mapping[str, object], more: Sections | None = None
) -> tuple[int, dict[str, str]]:
    """Exit status, and each finding about the broker with its level."""
    with closing(GatewayProcess(directory / "gateway", port, {"mqtt": mqtt, **(more or {})})) as gateway:
        ran = gateway.run("doctor", "--json")
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    return ran.returncode, {one["detail"]: one["level"] for one in found if one["check"] == "broker"}


USER: Final = {"username": "_gateway", "password": "secret"}


def test_a_broker_that_is_set_up_as_it_should_be_passes(tmp_path: Path) -> None:
    with strict_broker(tmp_path) as broker:
        _, found = examined(tmp_path, broker.port, USER)
    assert set(found.values()) <= {"ok", "skipped"}
    assert "the gateway's own user cannot publish commands: Not authorized" in found
    assert "the broker lets nobody in without a user" in found
    assert "the broker keeps a session while its client is away" in found


def test_a_broker_without_rules_lets_anybody_forge(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    broker.start()
    try:
        status, found = examined(tmp_path, broker.port, {})
    finally:
        broker.stop()
    assert status == 1
    assert found["the gateway's own user can publish commands as any actor"] == "failed"
    assert found["a client without a user can publish commands as any actor"] == "failed"


def test_over_tls_the_brokers_certificate_is_looked_at(tmp_path: Path) -> None:
    broken, good = make_certificate(tmp_path / "other"), make_certificate(tmp_path / "good")
    files = {"certfile": str(good.public), "keyfile": str(good.key)}
    with strict_broker(tmp_path, **files) as broker:
        for name, trusted in (("good", good), ("broken", broken)):
            trust = {"mqtt.tls": {"enabled": True, "ca_file": str(trusted.public)}}
            status, found = examined(tmp_path / name, broker.port, USER, trust)
            if trusted is good:
                assert "the broker's certificate is valid until 2049-12-31" in found
                assert set(found.values()) <= {"ok", "skipped"}
            else:
                assert status == 1
                assert [detail.startswith("TLS fails: ") for detail in found] == [True]


def test_who_has_no_certificate_is_turned_away_where_one_is_required(tmp_path: Path) -> None:
    own = make_certificate(tmp_path / "_gateway")
    files = {"certfile": str(own.public), "keyfile": str(own.key), "cafile": str(own.public)}
    with strict_broker(tmp_path, **files, require_certificate="true", use_identity_as_username="true") as broker:
        ours = {"enabled": True, "ca_file": str(own.public), "cert_file": str(own.public), "key_file": str(own.key)}
        _, found = examined(tmp_path, broker.port, {"connect_timeout": 2.0}, {"mqtt.tls": ours})
    assert found["the broker lets nobody in without a user"] == "ok"
    assert found["the gateway's own user cannot publish commands: Not authorized"] == "ok"


def test_a_wrong_password_is_told(tmp_path: Path) -> None:
    with strict_broker(tmp_path) as broker:
        status, found = examined(tmp_path, broker.port, {**USER, "password": "wrong"})
    assert (status, list(found.values())) == (1, ["failed"])
    assert "does not let '_gateway' in" in next(iter(found))


def test_a_broker_that_is_away_is_told(tmp_path: Path) -> None:
    with strict_broker(tmp_path) as broker:
        port = broker.port
    status, found = examined(tmp_path, port, USER)
    assert (status, list(found.values())) == (1, ["failed"])


def test_a_broker_that_puts_another_client_id_in_place_is_told_and_keeps_the_gateways_session(tmp_path: Path) -> None:
    with strict_broker(tmp_path, use_username_as_clientid="true") as broker:
        quick = {"mqtt": {**USER, "backoff_max": 0.3}}
        with closing(GatewayProcess(tmp_path / "gateway", broker.port, quick)) as gateway:
            gateway.launch()
            while not gateway.log("link_connected"):
                pass
            ran = gateway.run("doctor", "--json", "--quiet")
            assert "took over its session" in ran.stdout
            while len(gateway.log("link_connected")) < 2:
                pass
            assert gateway.log("link_connected")[1]["session_present"] is True
