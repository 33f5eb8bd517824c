"""``edge-gateway broker-config``: the broker's configuration, made from the settings."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.broker_drop_in import AUTOSAVE
from gateway.cli.exit_status import Exit
from gateway.cli.options import add_config, add_mosquitto, within
from gateway.cli.output import note
from gateway.errors import SettingsError

if TYPE_CHECKING:
    from gateway.broker_drop_in import BrokerPlaces
    from gateway.settings import MqttSettings, Settings

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
    parser.add_argument(
        "--devices-port", type=within(1, 65_535), default=8883, metavar="N", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--autosave-interval",
        type=within(0, 86_400),
        default=AUTOSAVE,
        metavar="SECONDS",
        help="how often the broker writes its whole store; 0: only when it ends (default: %(default)s)",
    )
    parser.add_argument("--defaults", action="store_true", help="for a gateway with default settings")
    add_config(parser)


def execute(options: Namespace) -> Exit:
    """Print or write it.

    Raises:
        SettingsError: the settings cannot be used, or not for a broker that others can reach.
    """
    from gateway.cli.mosquitto_files import install
    from gateway.settings import Settings
    from gateway.settings_loader import load_settings

    settings = Settings() if options.defaults else load_settings(options.config).settings
    places = _places(options, settings.mqtt)
    rules, configuration = _acl(options, settings), _drop_in(options, places, settings.mqtt)
    if not options.write:
        print(rules if options.acl else configuration, end="")
        return Exit.OK
    try:
        for path, text in ((places.acl, rules), (places.drop_in, configuration)):
            install(path, text.encode())
            note(f"written: {path}")
    except OSError as error:
        raise SettingsError(f"--mosquitto: {error}") from error
    for missing in _missing(places, settings.mqtt):
        note(f"note: {missing}")
    return Exit.OK


def _places(options: Namespace, mqtt: "MqttSettings") -> "BrokerPlaces":
    from dataclasses import replace

    from gateway.broker_drop_in import BrokerPlaces

    if mqtt.port == options.devices_port:
        raise SettingsError(f"mqtt.port: {mqtt.port} is for devices; tools on this machine need another, such as 1883")
    places = BrokerPlaces(options.mosquitto, mqtt.port, options.devices_address, options.devices_port)
    return replace(places, socket=mqtt.socket) if mqtt.socket else places


def _acl(options: Namespace, settings: "Settings") -> str:
    from gateway.access import OperatorRule
    from gateway.broker_acl import GATEWAY, acl
    from gateway.ids import is_name

    rules = [OperatorRule(rule.actors, rule.devices, rule.commands) for rule in settings.operators]
    patterns = {name for rule in rules for name in rule.actors if not is_name(name)}
    if patterns and not options.operator:
        names = ", ".join(sorted(patterns))
        note(f"note: no rule can say who is {names}: these operators see the devices only if you name them: --operator")
    return acl(
        settings.root,
        rules,
        gateway=settings.mqtt.username or GATEWAY,
        operators=options.operator,
        homeassistant=settings.homeassistant.prefix if settings.homeassistant.enabled else None,
    )


def _drop_in(options: Namespace, places: "BrokerPlaces", mqtt: "MqttSettings") -> str:
    from gateway.broker_drop_in import drop_in

    return drop_in(
        places,
        session_expiry=mqtt.session_expiry,
        in_flight=max(mqtt.receive_maximum, mqtt.publish_window),
        autosave=options.autosave_interval,
    )


def _missing(places: "BrokerPlaces", mqtt: "MqttSettings") -> Iterator[str]:
    """What mosquitto needs to start, or the gateway to be let in."""
    from gateway.broker_acl import GATEWAY

    if not mqtt.username:
        yield f"mqtt.username is empty in the settings: the broker knows the gateway as {GATEWAY}"
    if not places.passwords.exists():
        yield f"no passwords yet: mosquitto_passwd -c {places.passwords} {mqtt.username or GATEWAY}"
    if not places.authority.exists():
        yield f"no {places.authority} yet: edge-gateway broker-certificate, or certificates of your own"
    if not Path(places.socket).parent.is_dir():
        yield f"no directory yet for {places.socket}, in which mosquitto may write"
