"""What the doctor says of brokers that do wrong, as no mosquitto does."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from pydantic import SecretStr

from gateway.adapters.mqtt import LinkOptions
from gateway.adapters.mqtt_probe import Granted, Heard
from gateway.doctor import broker, keeping
from gateway.doctor.findings import Finding, Level
from gateway.doctor.forgery import foreign_command, try_all, try_as_nobody, what_only_the_gateway_says
from gateway.errors import LinkLost
from gateway.settings import MqttSettings

TOPIC = "edge/gw1/ack/_gateway/doctor-1"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing really has to expire."""
    monkeypatch.setattr(keeping, "EXPIRED", 0)


class WrongBroker:
    """Stands where the probes do, for all of them; keeps everything but what it is told to lose."""

    def __init__(
        self,
        *,
        refuses: str = "",
        hangs_up: bool = False,
        admits: bool = True,
        forgets_session: bool = False,
        queue: int = 10_000,
        reverses: bool = False,
        delivers_expired: bool = False,
        time_left: int | None = 58,
        retains: bool = True,
    ) -> None:
        self.options = LinkOptions("doctor-1")
        self.published: list[tuple[str, bytes, bool]] = []
        self._code = ReasonCode(PacketTypes.PUBACK, "Not authorized" if refuses else "Success")
        self._refuses = refuses
        self._hangs_up = hangs_up
        self._admits = admits
        self._forgets_session = forgets_session
        self._queue = queue
        self._reverses = reverses
        self._delivers_expired = delivers_expired
        self._time_left = time_left
        self._retains = retains

    def connect(self, *, session_expiry: int, clean_start: bool = False) -> Granted:
        assert session_expiry == 0
        is_known = not clean_start and not self._forgets_session
        return Granted("" if self._admits else "Not authorized", is_known, {}, {})

    def disconnect(self, *, session_expiry: int | None = None) -> None: ...

    def subscribe(self, topic: str) -> None: ...

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, expiry: int | None = None) -> ReasonCode:
        del expiry
        if self._hangs_up:
            raise LinkLost("hung up")
        self.published.append((topic, payload, retain))
        return self._code

    def publish_all(self, topic: str, payloads: Sequence[bytes], *, expiry: int) -> Sequence[ReasonCode]:
        return [self.publish(topic, payload, expiry=expiry) for payload in payloads]

    def heard(self, topic: str, patience: float) -> bytes | None:
        del patience
        return next((payload for known, payload, _ in self.published if known == topic), None)

    def heard_all(self, topic: str, count: int, patience: float) -> Sequence[Heard]:
        del patience
        came = [(payload, retain) for known, payload, retain in self.published if known == topic]
        if not self._delivers_expired and topic.endswith("/parked"):
            del came[0]
        kept = came[: self._queue]
        if self._reverses:
            kept.reverse()
        return [Heard(payload, retain and self._retains, self._time_left) for payload, retain in kept][:count]


def levels(findings: Iterable[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def after_an_absence(wrong: WrongBroker, topic: str = TOPIC) -> list[str]:
    absence = keeping.Absence(wrong, topic)  # type: ignore[arg-type]
    if topic:
        absence.publish(wrong)  # type: ignore[arg-type]
    return levels(absence.end())


def test_a_broker_that_keeps_what_is_for_somebody_away_is_fine() -> None:
    assert after_an_absence(WrongBroker()) == ["ok", "ok", "ok"]


def test_a_broker_that_forgets_sessions_is_told() -> None:
    assert after_an_absence(WrongBroker(forgets_session=True)) == ["failed"]
    assert after_an_absence(WrongBroker(forgets_session=True), "") == ["failed"]


def test_where_nothing_can_be_published_the_session_is_looked_at_all_the_same() -> None:
    assert after_an_absence(WrongBroker(), "") == ["ok", "skipped"]


@pytest.mark.parametrize("kept", [149, 40])
def test_a_queue_that_is_too_short_is_told(kept: int) -> None:
    assert after_an_absence(WrongBroker(queue=kept)) == ["ok", "failed", "ok"]


def test_a_session_without_its_messages_is_told() -> None:
    assert after_an_absence(WrongBroker(queue=0)) == ["ok", "failed"]


def test_another_order_is_told() -> None:
    assert after_an_absence(WrongBroker(reverses=True)) == ["ok", "failed", "ok"]


def test_a_broker_that_lets_nothing_expire_is_told() -> None:
    assert after_an_absence(WrongBroker(delivers_expired=True)) == ["ok", "ok", "failed"]


@pytest.mark.parametrize("time_left", [None, 60])
def test_a_broker_that_does_not_tell_the_time_that_is_left_is_told(time_left: int | None) -> None:
    assert after_an_absence(WrongBroker(time_left=time_left)) == ["ok", "ok", "failed"]


@pytest.mark.parametrize(("retains", "level"), [(True, "ok"), (False, "failed")])
def test_a_broker_that_keeps_no_retained_message_is_told_and_none_stays(*, retains: bool, level: str) -> None:
    wrong = WrongBroker(retains=retains)
    assert levels(keeping.check_retained(wrong, TOPIC)) == [level]  # type: ignore[arg-type]
    assert wrong.published[-1] == (f"{TOPIC}/retained", b"", True)


def test_the_topic_is_one_that_the_rules_of_the_broker_let_the_gateway_read() -> None:
    names = ("", "gateway.example", "_gateway")

    def topic(wrong: WrongBroker) -> str:
        return keeping.own_topic(wrong, "edge/gw1", names, 0)  # type: ignore[arg-type]

    assert topic(WrongBroker()) == "edge/gw1/ack/gateway.example/doctor-1"
    assert topic(WrongBroker(refuses="all")) == topic(WrongBroker(hangs_up=True)) == ""


def grants(**properties: Any) -> list[str]:
    told = Granted("", False, properties, {})  # noqa: FBT003 - of a record
    return [finding.level for finding in broker.judge_grants(told, MqttSettings()) if finding.level != Level.OK]


def test_a_broker_that_grants_less_than_is_needed_is_told() -> None:
    assert grants() == grants(MaximumQoS=1, RetainAvailable=1, SessionExpiryInterval=604_800) == []
    assert grants(MaximumQoS=0) == grants(RetainAvailable=0) == ["failed"]
    assert grants(SessionExpiryInterval=60) == grants(MaximumPacketSize=1_000) == ["warning"]


def test_the_limits_that_a_broker_tells_are_passed_on() -> None:
    told = Granted("", False, {"ReceiveMaximum": 20, "MaximumPacketSize": 4_194_304}, {})  # noqa: FBT003 - of a record
    [found] = broker.judge_grants(told, MqttSettings())
    assert "20 unconfirmed messages at once, packets of 4194304 bytes at most" in found.detail


@pytest.mark.parametrize(("told", "level"), [(None, "skipped"), (b"0", "ok"), (b"12", "warning")])
def test_messages_that_the_broker_has_dropped_are_told(told: bytes | None, level: str) -> None:
    assert broker.judge_drops(told).level == level


def test_who_can_forge_is_told_of_each_kind_of_message() -> None:
    forgeries = [foreign_command("edge/gw1"), *what_only_the_gateway_says("edge/gw1", b'{"state": "online"}')]
    for wrong, level in (
        (WrongBroker(), "failed"),
        (WrongBroker(refuses="all"), "ok"),
        (WrongBroker(hangs_up=True), "ok"),
    ):
        assert levels(try_all(wrong, forgeries, "he")) == [level] * 4  # type: ignore[arg-type]
        assert levels(try_as_nobody(wrong, forgeries)) == [level] * 4  # type: ignore[arg-type]
    assert levels(try_as_nobody(WrongBroker(admits=False), forgeries)) == ["ok"]  # type: ignore[arg-type]


def test_a_forgery_that_arrives_does_no_harm() -> None:
    wrong = WrongBroker()
    online = b'{"state": "online", "epoch": 7}'
    list(try_all(wrong, what_only_the_gateway_says("edge/gw1", online), "he"))  # type: ignore[arg-type]
    assert not any(retain for _, _, retain in wrong.published)
    assert dict(row[:2] for row in wrong.published)["edge/gw1/gateway/status"] == online
    list(try_all(wrong, what_only_the_gateway_says("edge/gw1", None), "he"))  # type: ignore[arg-type]
    # of a gateway that has said nothing, nothing is said in its name
    assert [topic for topic, _, _ in wrong.published].count("edge/gw1/gateway/status") == 1


def test_who_lacks_the_password_is_told_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    ours = MqttSettings(username="_gateway")
    assert "systemctl start edge-gateway-doctor" in broker._login_remedy(ours)
    wrong = ours.model_copy(update={"password": SecretStr("wrong")})
    assert broker._login_remedy(wrong) == "correct user and password"
    monkeypatch.setitem(os.environ, "CREDENTIALS_DIRECTORY", "/run/credentials")
    assert broker._login_remedy(ours) == "correct user and password"
