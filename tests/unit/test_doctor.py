import errno
import os
import socket
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway import doctor
from gateway.adapters.state_dir import claim_state_dir
from gateway.doctor import broker, certificates, machine, sandbox, state, store
from gateway.doctor.findings import Finding, Level
from gateway.settings import EventStoreSettings, GatewaySettings, MqttSettings, Settings, TlsSettings, TracingSettings
from tests.support.certificates import make_certificate
from tests.support.gateway_state import GatewayState


@pytest.fixture
def pump(tmp_path: Path) -> GatewayState:
    return GatewayState(tmp_path)


@pytest.fixture
def settings(pump: GatewayState) -> Settings:
    """Of a gateway without a broker: one that runs on this machine by chance is none of the tests' business."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        no_broker = MqttSettings(port=taken.getsockname()[1])
    return Settings(gateway=GatewaySettings(state_dir=pump.directory), mqtt=no_broker)


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests run on, it counts as a disk."""
    monkeypatch.setattr(state, "filesystem_of", lambda _path, _mounts: "ext4")


def levels(findings: Iterable[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def worst(findings: Iterable[Finding]) -> Finding:
    order = [Level.OK, Level.SKIPPED, Level.WARNING, Level.FAILED]
    return max(findings, key=lambda finding: order.index(finding.level))


def test_every_finding_that_is_not_fine_says_what_to_do(settings: Settings) -> None:
    for _, finding in doctor.examine(settings):
        assert bool(finding.remedy) == (finding.level in {Level.WARNING, Level.FAILED}), finding


def test_a_check_that_breaks_does_not_hide_the_others(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_settings: Settings) -> Iterable[Finding]:
        raise RuntimeError("a slip")

    monkeypatch.setattr(doctor, "CHECKS", {"first": breaks, "second": state.check_daemon})
    [(first, slip), (second, found)] = doctor.examine(settings)
    assert (first, slip.level, "a slip" in slip.detail) == ("first", Level.FAILED, True)
    assert (second, found.level) == ("second", Level.WARNING)


@pytest.mark.usefixtures("on_disk")
def test_a_private_state_directory_on_a_disk_is_fine(settings: Settings, pump: GatewayState) -> None:
    pump.directory.chmod(0o750)
    assert levels(state.check_state_dir(settings)) == ["ok"]


@pytest.mark.usefixtures("on_disk")
def test_what_others_can_open_is_told(settings: Settings, pump: GatewayState) -> None:
    pump.directory.chmod(0o755)
    (pump.directory / "gateway.db").chmod(0o644)
    assert levels(state.check_state_dir(settings)) == ["warning", "failed"]


def test_a_state_directory_that_is_missing_is_told(tmp_path: Path) -> None:
    missing = Settings(gateway=GatewaySettings(state_dir=tmp_path / "missing"))
    assert levels(state.check_state_dir(missing)) == ["failed"]
    assert levels(state.check_disk(missing)) == ["skipped"]


@pytest.mark.parametrize(("kind", "level"), [("tmpfs", "failed"), ("nfs4", "failed"), ("overlay", "failed")])
def test_a_state_that_a_restart_may_empty_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, kind: str, level: str
) -> None:
    monkeypatch.setattr(state, "filesystem_of", lambda _path, _mounts: kind)
    assert worst(state.check_state_dir(settings)).level == level


def test_the_innermost_mount_counts() -> None:
    mounts = (
        "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "22 21 0:5 / /var rw shared:1 - xfs /dev/sdb rw\n"
        "23 22 0:6 / /var/my\\040disk rw - tmpfs tmpfs rw\n"
    )
    paths = ("/etc", "/var/lib", "/variable", "/var/my disk/x")
    assert [state.filesystem_of(Path(path), mounts) for path in paths] == ["ext4", "xfs", "ext4", "tmpfs"]


def test_a_full_disk_and_a_slow_one_are_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.limits.disk_reserve > 1_000
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 1_000, "used": 1}))
    monkeypatch.setattr(state, "_write", lambda _directory, _size: 0.5)
    assert levels(state.check_disk(settings)) == ["failed", "warning"]


def test_a_disk_that_refuses_a_write_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: int) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr("os.fsync", refuse)
    assert worst(state.check_disk(settings)).level == "failed"


def test_whether_a_gateway_runs_is_told(settings: Settings, pump: GatewayState) -> None:
    assert levels(state.check_daemon(settings)) == ["warning"]
    with claim_state_dir(pump.directory):
        [found] = state.check_daemon(settings)
    assert str(os.getpid()) in found.detail


@pytest.mark.parametrize(("kernel", "level"), [(0, "ok"), (5, "warning"), (-1, "skipped")])
def test_a_clock_that_nobody_sets_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, kernel: int, level: str
) -> None:
    monkeypatch.setattr(machine, "clock_state", lambda: kernel)
    assert levels(machine.check_clock(settings)) == [level]


def test_the_kernel_tells_of_its_clock() -> None:
    assert machine.clock_state() in range(6)


def test_a_clock_behind_the_state_is_told(
    settings: Settings, pump: GatewayState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "clock_state", lambda: 0)
    ahead = time.time() + 3_600
    os.utime(pump.directory / "gateway.db", (ahead, ahead))
    assert levels(machine.check_clock(settings)) == ["ok", "warning"]


@pytest.mark.parametrize(("controllers", "level"), [("cpu io memory pids", "ok"), ("cpu io pids", "warning")])
def test_memory_limits_without_effect_are_told(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controllers: str, level: str
) -> None:
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    assert levels(machine.check_memory_limit(settings)) == ["skipped"]
    (tmp_path / "cgroup.controllers").write_text(controllers)
    assert levels(machine.check_memory_limit(settings)) == [level]


def test_certificates_that_end_and_keys_that_everybody_reads_are_told(tmp_path: Path) -> None:
    good, ended = make_certificate(tmp_path / "good"), make_certificate(tmp_path / "ended", end="20210101000000Z")
    good.key.chmod(0o640)
    ended.key.chmod(0o644)

    def found(ca: Path, certificate: Path, key: Path) -> list[str]:
        tls = TlsSettings(enabled=True, ca_file=str(ca), cert_file=str(certificate), key_file=str(key))
        return levels(certificates.check_certificates(Settings(mqtt=MqttSettings(tls=tls))))

    assert found(good.public, good.public, good.key) == ["ok", "ok"]
    traced = Settings(tracing=TracingSettings(ca_file=str(ended.public)))
    assert levels(certificates.check_certificates(traced)) == ["failed"]
    assert found(good.public, ended.public, ended.key) == ["ok", "failed", "failed"]
    assert found(tmp_path / "none", good.key, tmp_path / "none") == ["failed", "failed", "failed"]


def test_a_certificate_that_ends_soon_is_told_before_it_does() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    ends = (now + timedelta(days=20), now + timedelta(days=22), now)
    assert [certificates.judge_expiry("x", end, now).level for end in ends] == ["warning", "ok", "failed"]


def test_a_database_that_cannot_be_read_is_told(settings: Settings, pump: GatewayState) -> None:
    assert levels(store.check_event_store(settings)) == ["ok", "ok"]
    (pump.directory / "gateway.db").write_bytes(b"no database" * 1_000)
    assert levels(store.check_event_store(settings)) == ["failed"]
    (pump.directory / "gateway.db").unlink()
    assert levels(store.check_event_store(settings)) == ["skipped"]


def test_a_store_elsewhere_that_does_not_answer_is_told(settings: Settings) -> None:
    pytest.importorskip("esdbclient")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    away = EventStoreSettings(url=f"esdb://127.0.0.1:{port}?Tls=false", deadline=0.5)
    assert levels(store.check_event_store(settings.model_copy(update={"event_store": away}))) == ["ok", "ok", "failed"]


def test_a_database_that_this_user_may_not_write_is_told(
    settings: Settings, pump: GatewayState, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (pump.directory / "gateway.db").read_bytes()
    assert levels(store.check_event_store(settings)) == ["ok", "ok"]
    assert (pump.directory / "gateway.db").read_bytes() == before
    opened = Path.open

    def refuse(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if mode == "r+b":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, mode, *rest, **named)

    monkeypatch.setattr(Path, "open", refuse)
    assert levels(store.check_event_store(settings)) == ["ok", "failed"]


CONFINED = "Name:\tedge-gateway\nUid:\t997\t997\t997\t997\nCapBnd:\t0\nCapEff:\t0\nNoNewPrivs:\t1\nSeccomp:\t2\n"


@pytest.mark.parametrize(
    ("line", "instead", "told"),
    [
        ("Uid:\t997\t997", "Uid:\t0\t0", "it runs as root"),
        ("CapBnd:\t0", "CapBnd:\t1ffffffffff", "it could gain capabilities (CapBnd 1ffffffffff)"),
        ("CapEff:\t0", "CapEff:\t80", "it has capabilities (CapEff 80)"),
        ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "it could gain privileges (NoNewPrivs 0)"),
        ("Seccomp:\t2", "Seccomp:\t0", "no system call is kept from it (Seccomp 0)"),
        ("Seccomp:\t2\n", "", "no system call is kept from it (Seccomp absent)"),
    ],
)
def test_what_is_missing_of_the_sandbox_is_told(line: str, instead: str, told: str) -> None:
    assert sandbox.what_is_loose(CONFINED) == []
    assert sandbox.what_is_loose(CONFINED.replace(line, instead)) == [told]


def test_the_sandbox_of_the_running_gateway_is_looked_at(
    settings: Settings, pump: GatewayState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "PROCESSES", tmp_path)
    assert levels(sandbox.check_sandbox(settings)) == ["skipped"]
    status = tmp_path / str(os.getpid()) / "status"
    with claim_state_dir(pump.directory):
        assert levels(sandbox.check_sandbox(settings)) == ["skipped"]
        status.parent.mkdir()
        status.write_text(CONFINED)
        assert levels(sandbox.check_sandbox(settings)) == ["ok"]
        status.write_text(CONFINED.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0"))
        assert levels(sandbox.check_sandbox(settings)) == ["warning"]


def test_the_kernel_tells_of_a_process_what_the_sandbox_is_about() -> None:
    assert "absent" not in " ".join(sandbox.what_is_loose(Path("/proc/self/status").read_text()))


@pytest.mark.parametrize(
    ("mqtt", "level"),
    [
        (MqttSettings(host="broker.example"), ["warning"]),
        (MqttSettings(host="broker.example", tls=TlsSettings(enabled=True)), []),
        (MqttSettings(host="localhost"), []),
        (MqttSettings(host="::1"), []),
        (MqttSettings(host="broker.example", socket="/run/mqtt.sock"), []),
    ],
)
def test_a_password_in_clear_over_the_network_is_told(mqtt: MqttSettings, level: list[str]) -> None:
    assert levels(broker._check_line(mqtt)) == level
