import pytest

from gateway.access import OperatorRule
from gateway.broker_acl import acl
from gateway.errors import SettingsError


def granted(text: str, user: str) -> list[str]:
    """The rules of one user."""
    _, found, behind = text.partition(f"\nuser {user}\n")
    return behind.partition("\n\n")[0].splitlines() if found else []


def test_every_rule_lies_below_the_root_but_the_brokers_own_figures() -> None:
    rules = [line for line in acl("a/b c", ()).splitlines() if line.startswith(("topic", "pattern"))]
    assert {rule.split(" ", 2)[2].startswith("a/b c/") for rule in rules if "$SYS" not in rule} == {True}


def test_an_operator_of_all_devices_reads_all_and_writes_nothing_but_his_own() -> None:
    lines = granted(acl("r", [OperatorRule(("alice",))]), "alice")
    assert "topic read r/state/+" in lines
    assert [line for line in lines if "write" in line] == []


def test_an_operator_of_some_devices_reads_those_that_are_named() -> None:
    rules = [OperatorRule(("bob",), ("pump-1", "valve-*")), OperatorRule(("bob",), ("pump-2",))]
    lines = granted(acl("r", rules), "bob")
    assert [line for line in lines if "/state/" in line] == ["topic read r/state/pump-1", "topic read r/state/pump-2"]


def test_an_operator_who_is_known_by_a_pattern_has_rules_once_he_is_named() -> None:
    rules = [OperatorRule(("ops-*",))]
    assert granted(acl("r", rules), "ops-1") == []
    assert "topic read r/state/+" in granted(acl("r", rules, operators=["ops-1"]), "ops-1")


def test_home_assistant_has_rules_only_where_it_is_to_show_the_devices() -> None:
    assert "homeassistant" not in acl("r", ())
    text = acl("r", (), homeassistant="ha")
    assert {"topic read r/state/+", "topic write ha/status"} <= set(granted(text, "homeassistant"))
    assert "topic write ha/device/+/config" in text.splitlines()


@pytest.mark.parametrize("prefix", ["ha\ntopic readwrite #", "%u"])
def test_a_prefix_of_home_assistant_that_a_rule_cannot_say_is_an_error(prefix: str) -> None:
    with pytest.raises(SettingsError, match=r"homeassistant\.prefix"):
        acl("r", (), homeassistant=prefix)


@pytest.mark.parametrize("name", ["eve", "_gateway", "ops-1\nuser eve"])
def test_whoever_is_no_operator_cannot_be_named_as_one(name: str) -> None:
    with pytest.raises(SettingsError, match="no operator"):
        acl("r", [OperatorRule(("ops-*",))], operators=[name])


@pytest.mark.parametrize("actor", ["a b", "a\nuser eve", "_gateway", "#"])
def test_what_cannot_be_a_user_has_no_rules(actor: str) -> None:
    assert acl("r", [OperatorRule((actor,))]) == acl("r", ())


@pytest.mark.parametrize("device", ["pump\ntopic readwrite #", "#", "+", "a/b"])
def test_a_device_that_can_be_none_opens_nothing(device: str) -> None:
    assert granted(acl("r", [OperatorRule(("bob",), (device,))]), "bob") == ["topic read r/gateway/health"]


@pytest.mark.parametrize("root", ["a\ntopic readwrite #", "edge/%u", " a", "a "])
def test_a_root_that_a_rule_cannot_say_is_an_error(root: str) -> None:
    with pytest.raises(SettingsError, match=r"mqtt\.root"):
        acl(root, ())


@pytest.mark.parametrize("gateway", ["gateway", "gw1", "", "_", "_a b", "_a\nuser eve"])
def test_a_gateway_that_a_device_could_be_or_a_rule_cannot_say_is_an_error(gateway: str) -> None:
    with pytest.raises(SettingsError, match=r"mqtt\.username"):
        acl("r", (), gateway=gateway)
