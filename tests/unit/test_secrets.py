from pydantic import SecretStr

from gateway.adapters.esdb_options import EsdbOptions
from gateway.adapters.mqtt import LinkOptions
from gateway.adapters.otel import SpanOptions
from gateway.settings import EventStoreSettings, MqttSettings, Settings, TracingSettings


def test_a_password_is_in_no_text_that_is_made_of_options_or_settings() -> None:
    hidden = SecretStr("hunter2")
    settings = Settings(
        mqtt=MqttSettings(password=hidden),
        event_store=EventStoreSettings(password=hidden),
        tracing=TracingSettings(headers=SecretStr("authorization=hunter2")),
    )
    options = (
        LinkOptions(client_id="gw", password="hunter2"),
        EsdbOptions("esdb://store:2113", ("device",), password="hunter2"),
        SpanOptions("http://collector:4318", "gw1", {"authorization": "hunter2"}),
    )
    for one in (settings, *options):
        assert "hunter2" not in f"{one} {one!r}"
