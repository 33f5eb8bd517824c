"""How the broker is reached, out of the settings."""

from pathlib import Path

from gateway.adapters.mqtt import LinkOptions, TlsFiles
from gateway.settings import MqttSettings


def link_options(mqtt: MqttSettings, client_id: str) -> LinkOptions:
    """What the link needs to know."""

    def path(text: str) -> Path | None:
        return Path(text) if text else None

    tls = TlsFiles(path(mqtt.tls.ca_file), path(mqtt.tls.cert_file), path(mqtt.tls.key_file))
    return LinkOptions(
        client_id=client_id,
        host=mqtt.host,
        port=mqtt.port,
        socket_path=mqtt.socket,
        username=mqtt.username,
        password=mqtt.password.get_secret_value(),
        tls=tls if mqtt.tls.enabled else None,
        keepalive=mqtt.keepalive,
        connect_timeout=mqtt.connect_timeout,
        receive_maximum=mqtt.receive_maximum,
        publish_window=mqtt.publish_window,
        session_expiry=mqtt.session_expiry,
        will_delay=mqtt.will_delay,
        backoff=(mqtt.backoff_min, mqtt.backoff_max),
    )
