"""The gateway describes itself, out of the domain's models."""

from typing import Any

from gateway import __version__
from gateway.codes import CODES
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Command


def gateway_info(catalogue: Catalogue, gateway: str) -> dict[str, Any]:
    """What this gateway is, which commands it takes, each with its JSON Schema, and what its answers mean."""
    return {
        "gateway": gateway,
        "version": __version__,
        "commands": {
            command.name: _describe(command, decider.category)
            for decider in catalogue
            for command in decider.commands
            if command.issuers
        },
        "codes": {str(code): meaning._asdict() for code, meaning in CODES.items()},
        "events": {decider.category: [event.__name__ for event in decider.events] for decider in catalogue},
    }


def _describe(command: type[Command], category: str) -> dict[str, Any]:
    return {
        "category": category,
        "issued_by": sorted(command.issuers),
        "causes": [event.__name__ for event in command.causes],
        "schema": command.model_json_schema(),
    }
