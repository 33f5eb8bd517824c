"""Names that clients, devices and stored events depend on. A rename has to be a decision: it breaks all of them."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gateway.domain import DECIDERS
from gateway.domain.outages import GATEWAY

GOLDEN = Path(__file__).with_name("wire_names.json")


def fields(cls: type[BaseModel]) -> dict[str, str]:
    return {
        field.alias or name: "required" if field.is_required() else "optional"
        for name, field in cls.model_fields.items()
    }


def wire_names() -> dict[str, Any]:
    return {
        decider.category: {
            "collection": decider.collection,
            "tables": sorted(decider.rows),
            "commands": {
                command.name: {
                    "issued_by": sorted(command.issuers),
                    "fields": fields(command),
                    "causes": [event.__name__ for event in command.causes],
                }
                for command in decider.commands
            },
            "events": {event.__name__: {"version": event.version, "fields": fields(event)} for event in decider.events},
        }
        for decider in (*DECIDERS, GATEWAY)
    }


def test_every_name_on_the_wire_is_the_one_that_was_released() -> None:
    assert wire_names() == json.loads(GOLDEN.read_text())


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(wire_names(), indent=2) + "\n")
