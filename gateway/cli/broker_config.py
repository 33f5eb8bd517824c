"""``edge-gateway broker-config``: the broker's configuration, made from the settings."""

from argparse import ArgumentParser, Namespace
from typing import Final

from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config, add_mosquitto, at_least
from gateway.cli.output import note
from gateway.errors import SettingsError

SUMMARY: Final = "print or write mosquitto's access rules and configuration"


def add_options(parser: ArgumentParser) -> None:
    """Tell the parser what may follow."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--acl", action="store_true", help="print the access rules")
    what.add_argument("--drop-in", action="store_true", help="print the configuration for conf.d")
    what.add_argument("--write", action="store_true", help="write both to where mosquitto reads them")
    add_mosquitto(parser)
    parser.add_argument(
        "--operator",
        action="append",
        default=[],
        metavar="NAME",
        help="user name of an operator whom the settings know by a pattern only; may be repeated",
    )
    parser.add_argument("--devices-address", default="", metavar="IP", help="where devices connect (default: anywhere)")
    parser.add_argument("--devices-port", type=at_least(1), default=8883, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--defaults", action="store_true", help="for a gateway with default settings")
    add_config(parser)


def execute(options: Namespace) -> Exit:
    """Print or write it.

    Raises:
        SettingsError: the settings cannot be used, or not for a broker that others can reach.
    """
    from dataclasses import replace

    from gateway.access import OperatorRule
    from gateway.broker_acl import GATEWAY, acl
    from gateway.broker_drop_in import BrokerPlaces, drop_in
    from gateway.cli.mosquitto_files import install
    from gateway.ids import is_name
    from gateway.settings import Settings
    from gateway.settings_loader import load_settings

    settings = Settings() if options.defaults else load_settings(options.config).settings
    mqtt = settings.mqtt
    rules = [OperatorRule(rule.actors, rule.devices, rule.commands) for rule in settings.operators]
    patterns = {name for rule in rules for name in rule.actors if not is_name(name)}
    if patterns and not options.operator:
        names = ", ".join(sorted(patterns))
        note(f"note: no rule can say who is {names}: these operators see the devices only if you name them: --operator")
    places = BrokerPlaces(options.mosquitto, mqtt.port, options.devices_address, options.devices_port)
    if mqtt.socket:
        places = replace(places, socket=mqtt.socket)
    gateway = mqtt.username or GATEWAY
    texts = {
        places.acl: acl(settings.root, rules, gateway=gateway, operators=options.operator),
        places.drop_in: drop_in(
            places,
            session_expiry=mqtt.session_expiry,
            in_flight=max(mqtt.receive_maximum, mqtt.publish_window),
        ),
    }
    if options.write:
        try:
            for path, text in texts.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                install(path, text.encode())
                note(f"written: {path}")
        except OSError as error:
            raise SettingsError(f"--mosquitto: {error}") from error
    else:
        print(texts[places.acl if options.acl else places.drop_in], end="")
    return Exit.OK
