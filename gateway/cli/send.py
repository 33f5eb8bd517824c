"""``edge-gateway send``: one command, until it is acknowledged."""

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.broker_options import add_actor, add_broker, add_timeout, default_actor, with_flags
from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config, add_json, at_least, name
from gateway.cli.output import note, print_fields, print_json
from gateway.ids import is_command_id, new_id

if TYPE_CHECKING:
    from gateway.cli.sender import Acknowledgement

SUMMARY: Final = "send a command, and repeat it until it is acknowledged"

_FORBIDDEN: Final = 403


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    parser.epilog = (
        "Exit status: 0 accepted, 65 rejected, 69 no broker, 75 not settled in time (send it again with the same "
        "--id), 77 not permitted, 78 the settings are wrong. KEY=VALUE follows COMMAND directly."
    )
    parser.add_argument("device", type=name, metavar="DEVICE", help="whom it is for")
    parser.add_argument("command", type=name, metavar="COMMAND", help="such as configure")
    content = parser.add_mutually_exclusive_group()
    content.add_argument(
        "fields",
        type=_field,
        nargs="*",
        default=(),
        metavar="KEY=VALUE",
        help="the command's data; a value that is JSON counts as such, any other as text",
    )
    content.add_argument("--data", type=_object, metavar="JSON", help="the command's data as a JSON object")
    _add_circumstances(parser)
    add_config(parser)
    add_json(parser)


def _add_circumstances(parser: ArgumentParser) -> None:
    add_actor(parser, "who sends")
    parser.add_argument("--id", type=_command_id, help="command id (default: a new version 7 UUID)")
    parser.add_argument(
        "--expected-revision", type=at_least(-1), metavar="N", help="refuse unless the device is at this revision"
    )
    parser.add_argument("--wait-for", choices=("persisted", "projected"), help="when to acknowledge")
    parser.add_argument("--dry-run", action="store_true", help="decide, but let nothing happen")
    add_timeout(parser)
    add_broker(parser.add_argument_group("broker", "in place of what the settings say"))


def execute(options: Namespace) -> Exit:
    """Send it, and print the acknowledgement.

    Raises:
        SettingsError: the settings cannot be used.
        LinkLost: there is no broker.
        PublishRefused: the broker does not let this user send this command.
    """
    import asyncio

    from gateway.cli.sender import Outgoing, Sender
    from gateway.settings_loader import load_settings
    from gateway.topics import Topics

    settings = with_flags(load_settings(options.config).settings, options)
    topics = Topics(settings.root)
    actor = options.actor or default_actor(options.username)
    envelope = _envelope(options)
    outgoing = Outgoing(
        command_id=envelope["command_id"],
        topic=topics.command(actor, options.device, options.command),
        payload=json.dumps(envelope).encode(),
        # nobody else's answers arrive there
        reply_topic=topics.ack(actor, new_id()),
    )
    ack = asyncio.run(Sender(outgoing, settings.mqtt).settle(options.timeout))
    if ack is not None:
        (print_json if options.json else print_fields)(ack)
    status = _verdict(ack)
    if status is Exit.TRY_AGAIN:
        note(f"not settled within {options.timeout:g} s; send it again with --id {outgoing.command_id}")
    return status


def _envelope(options: Namespace) -> dict[str, Any]:
    given = {
        "expected_revision": options.expected_revision,
        "wait_for": options.wait_for,
        "dry_run": options.dry_run or None,
    }
    data = dict(options.fields) if options.data is None else options.data
    wanted = {name: value for name, value in given.items() if value is not None}
    return {"command_id": options.id or new_id(), "data": data, **wanted}


def _verdict(ack: "Acknowledgement | None") -> Exit:
    match ack:
        case {"status": "accepted"}:
            return Exit.OK
        case {"status": "rejected", "code": code}:
            return Exit.NOT_PERMITTED if code == _FORBIDDEN else Exit.REJECTED
        case _:
            return Exit.TRY_AGAIN


def _command_id(text: str) -> str:
    if not is_command_id(text):
        raise ArgumentTypeError("must be 1 to 64 printable characters")
    return text


def _object(text: str) -> dict[str, Any]:
    try:
        value = _parse_json(text)
    except ValueError as error:
        raise ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ArgumentTypeError("must be a JSON object")
    return value


def _field(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ArgumentTypeError(f"must be KEY=VALUE, not {text!r}")
    try:
        return key, _parse_json(value)
    except ValueError:
        return key, value


def _parse_json(text: str) -> object:
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")
