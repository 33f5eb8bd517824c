from typing import ClassVar

import pytest

from gateway.access import Access, OperatorRule
from gateway.domain.decider import Command, Role
from gateway.errors import NotPermitted


class Report(Command):
    name: ClassVar = "report"
    issuers: ClassVar = frozenset({Role.DEVICE})
    causes: ClassVar = ()


class Configure(Command):
    name: ClassVar = "configure"
    issuers: ClassVar = frozenset({Role.OPERATOR})
    causes: ClassVar = ()


class Register(Command):
    name: ClassVar = "register"
    issuers: ClassVar = frozenset({Role.DEVICE, Role.OPERATOR})
    causes: ClassVar = ()


ACCESS = Access([OperatorRule(("alice", "ops-*")), OperatorRule(("bob",), ("pump-*",), ("con*",))])


@pytest.mark.parametrize(
    ("actor", "device", "command", "role"),
    [
        ("pump-7", "pump-7", Report, Role.DEVICE),
        ("pump-7", "pump-7", Register, Role.DEVICE),
        ("alice", "pump-7", Configure, Role.OPERATOR),
        ("ops-night", "valve-2", Register, Role.OPERATOR),
        ("bob", "pump-7", Configure, Role.OPERATOR),
        ("alice", "alice", Configure, Role.OPERATOR),
    ],
)
def test_a_permitted_actor_has_a_role(actor: str, device: str, command: type[Command], role: Role) -> None:
    assert ACCESS.role(actor, device, command) is role
    assert not ACCESS.is_stranger(actor, device)


@pytest.mark.parametrize(
    ("actor", "device", "command"),
    [
        ("pump-7", "valve-2", Report),  # another device
        ("alice", "pump-7", Report),  # only the device itself knows
        ("pump-7", "pump-7", Configure),  # only an operator may
        ("bob", "valve-2", Configure),  # not his devices
        ("bob", "pump-7", Register),  # not his commands
        ("mallory", "pump-7", Configure),
    ],
)
def test_anyone_else_is_refused(actor: str, device: str, command: type[Command]) -> None:
    with pytest.raises(NotPermitted):
        ACCESS.role(actor, device, command)


def test_a_stranger_is_neither_the_device_nor_its_operator() -> None:
    assert ACCESS.is_stranger("mallory", "pump-7")
    assert ACCESS.is_stranger("bob", "valve-2")
    assert ACCESS.is_stranger("pump-7", "valve-2")
