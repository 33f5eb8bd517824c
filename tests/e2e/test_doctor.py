import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from gateway.adapters import esdb_client
from tests.support.broker import Broker
from tests.support.certificates import make_certificate
from tests.support.eventstoredb_process import EventStoreProcess
from tests.support.gateway_process import GatewayProcess, Sections
from tests.support.technician import ROOT

# none of it depends on where the events are
pytestmark = pytest.mark.embedded

PASSWD: Final = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
ACL: Final = (
    f"user _gateway\ntopic read {ROOT}/cmd/#\ntopic write {ROOT}/ack/#\n\n"
    f"pattern write {ROOT}/cmd/%u/#\npattern read {ROOT}/ack/%u/#\n"
)


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


def told(gateway: GatewayProcess, group: str) -> tuple[int, dict[str, str]]:
    """Exit status, and each finding of one group with its level."""
    ran = gateway.run("doctor", "--json", "--mosquitto", str(gateway.state_dir / "no-mosquitto"))
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert all(bool(one["remedy"]) == (one["level"] in {"warning", "failed"}) for one in found)
    return ran.returncode, {one["detail"]: one["level"] for one in found if one["check"] == group}


def examined(
    directory: Path, port: int, mqtt: Mapping[str, object], more: Sections | None = None
) -> tuple[int, dict[str, str]]:
    """Exit status, and each finding about the broker with its level."""
    with closing(GatewayProcess(directory / "gateway", port, {"mqtt": mqtt, **(more or {})})) as gateway:
        return told(gateway, "broker")


USER: Final = {"username": "_gateway", "password": "secret"}


def test_a_broker_that_is_set_up_as_it_should_be_passes(tmp_path: Path) -> None:
    with strict_broker(tmp_path) as broker:
        _, found = examined(tmp_path, broker.port, USER)
    # the rules of this one keep $SYS from the gateway
    assert [level for detail, level in found.items() if "$SYS" not in detail] == ["ok"] * 8
    assert "the broker takes 20 unconfirmed messages at once, packets of any size; of queues it tells nothing" in found
    assert "the broker keeps a retained message for whoever subscribes later" in found
    assert "the gateway's own user cannot publish commands as any actor: Not authorized" in found
    assert "the broker lets nobody in without a user" in found
    assert "the broker keeps a session while its client is away" in found
    assert "the broker keeps 150 messages for a client that is away, in order" in found
    assert "the broker drops what has expired, and tells how long the rest is good for" in found


def test_a_queue_that_is_too_short_for_an_absence_is_told(tmp_path: Path) -> None:
    with strict_broker(tmp_path, max_queued_messages="30") as broker:
        status, found = examined(tmp_path, broker.port, USER)
    assert status == 1
    assert [detail for detail, level in found.items() if level == "failed"] == [
        "of 150 messages for a client that is away the broker has lost 121"
    ]


def test_a_broker_with_few_messages_at_once_is_not_overrun(tmp_path: Path) -> None:
    with strict_broker(tmp_path, max_inflight_messages="3") as broker:
        _, found = examined(tmp_path, broker.port, USER)
    assert "the broker takes 3 unconfirmed messages at once, packets of any size; of queues it tells nothing" in found
    assert found["the broker keeps 150 messages for a client that is away, in order"] == "ok"


def test_a_broker_that_keeps_nothing_retained_is_told(tmp_path: Path) -> None:
    with strict_broker(tmp_path, retain_available="false") as broker:
        status, found = examined(tmp_path, broker.port, USER)
    assert status == 1
    assert [detail for detail, level in found.items() if level == "failed"] == [
        "the broker keeps no retained messages: no state, no status"
    ]


def test_where_the_rules_leave_the_doctor_no_topic_it_says_so(tmp_path: Path) -> None:
    with strict_broker(tmp_path) as broker:
        (tmp_path / "acl").write_text(f"user _gateway\ntopic read {ROOT}/cmd/#\ntopic write {ROOT}/ack/#\n")
        broker.reload()
        _, found = examined(tmp_path, broker.port, USER)
    assert found["the broker keeps a session while its client is away"] == "ok"
    assert [level for detail, level in found.items() if detail.startswith("what it keeps cannot be tried")] == [
        "skipped"
    ]


def test_it_leaves_nothing_behind_at_the_broker_and_the_gateway_beside_it_goes_on(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker", {"sys_interval": "1"})
    broker.start()
    try:
        with closing(GatewayProcess(tmp_path / "gateway", broker.port)) as gateway:
            gateway.start()
            status, found = told(gateway, "broker")
            assert (status, found["the broker has dropped no message since its start"]) == (1, "ok")
            assert told(gateway, "broker")[1] == found, "the second time as the first"
            assert told(gateway, "daemon")[1] == {f"a gateway runs, process id {gateway.process_id}": "ok"}
            [(sandbox, level)] = told(gateway, "sandbox")[1].items()
            assert (level, "NoNewPrivs 0" in sandbox) == ("warning", True)
            assert len(gateway.log("link_connected")) == 1
            assert not gateway.log("dead_letter")
            gateway.terminate()
        kept = retained_at(broker.port)
        # its own session is the gateway's
        assert figure(broker.port, "clients/disconnected") == 1
        assert figure(broker.port, "publish/messages/dropped") == 0
    finally:
        broker.stop()
    assert {topic.removeprefix(f"{ROOT}/") for topic in kept} <= {"gateway/status", "gateway/info", "gateway/health"}


def retained_at(port: int) -> list[str]:
    """The topics of all retained messages: those that come before a message that is published afterwards."""
    watching = ["mosquitto_sub", "-p", str(port), "-q", "1", "-t", "#", "-F", "%r %t"]
    with subprocess.Popen(watching, stdout=subprocess.PIPE, text=True, bufsize=0) as watcher:
        assert watcher.stdout is not None
        try:
            topics = []
            while (line := watcher.stdout.readline().split()) != ["0", "end"]:
                topics += [line[1]] if line[0] == "1" else []
                # at the first one it listens
                subprocess.run(["mosquitto_pub", "-p", str(port), "-q", "1", "-t", "end", "-m", "-"], check=True)
            return topics
        finally:
            watcher.kill()


def figure(port: int, name: str) -> int:
    """What the broker counts of itself, once it has counted anew: it tells its age each time."""

    def told(topic: str, *options: str) -> str:
        asked = ["mosquitto_sub", "-p", str(port), "-W", "15", *options, "-t", f"$SYS/broker/{topic}"]
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout

    told("uptime", "-R", "-C", "2")
    return int(told(name, "-C", "1"))


def test_a_broker_without_rules_lets_anybody_forge(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker")
    broker.start()
    try:
        status, found = examined(tmp_path, broker.port, {})
    finally:
        broker.stop()
    assert status == 1
    assert {detail for detail, level in found.items() if level == "failed"} == {
        "the gateway's own user can publish commands as any actor",
        "a client without a user can publish commands as any actor",
        "a client without a user can publish acknowledgements",
        "a client without a user can publish states of devices",
        "a client without a user can publish the gateway's status",
    }


def test_of_a_stranger_who_is_let_in_it_is_told_what_he_can_forge(tmp_path: Path) -> None:
    with strict_broker(tmp_path, allow_anonymous="true") as broker:
        _, found = examined(tmp_path / "nothing", broker.port, USER)
        assert {level for detail, level in found.items() if "a client without a user" in detail} == {"ok"}
        assert "a client without a user cannot publish the gateway's status: Not authorized" in found
        # what stands before the first user holds for everybody without one
        (tmp_path / "acl").write_text(f"topic write {ROOT}/ack/#\n\n{ACL}")
        broker.reload()
        _, found = examined(tmp_path / "acknowledgements", broker.port, USER)
    assert [detail for detail, level in found.items() if level == "failed"] == [
        "a client without a user can publish acknowledgements"
    ]


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
    assert found["the gateway's own user cannot publish commands as any actor: Not authorized"] == "ok"
    # the broker knows the gateway by its certificate, and so does the doctor
    assert found["the broker keeps 150 messages for a client that is away, in order"] == "ok"


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


def test_a_store_elsewhere_takes_a_write_that_has_no_part_in_its_log(tmp_path: Path) -> None:
    with (
        closing(EventStoreProcess(tmp_path / "store").start()) as server,
        closing(no_broker(tmp_path, server)) as gateway,
    ):
        for _ in range(3):
            _, found = told(gateway, "event store")
            assert [detail.split(" in ")[0] for detail, level in found.items() if level == "ok"] == [
                f"{server.url} answered",
                f"{server.url} took an event beside the log and gave it back,",
            ]
        assert gateway.logged() == []
        assert asyncio.run(stream(server.url, "x.doctor-gw1")) == 1


def test_a_store_elsewhere_that_takes_no_write_is_told(tmp_path: Path) -> None:
    with (
        closing(EventStoreProcess(tmp_path / "store").start()) as server,
        closing(no_broker(tmp_path, server)) as gateway,
    ):
        server.change(read_only=True)
        status, found = told(gateway, "event store")
    assert status == 1
    assert [detail.split(":")[0] for detail, level in found.items() if level == "failed"] == ["esdb"]
    assert any("takes no write: the store refuses our user" in detail for detail in found)


def no_broker(directory: Path, server: EventStoreProcess) -> GatewayProcess:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return GatewayProcess(directory / "gateway", port, {"event_store": {"url": server.url, "prefix": "x."}})


async def stream(url: str, name: str) -> int:
    """How many events a stream has that can be seen."""
    client = esdb_client.Client(uri=url)
    await client.connect()
    try:
        return len(await client.get_stream(name))
    finally:
        await client.close()
