"""An MQTT-native edge gateway: durable commands, an event log, and a read cache served over MQTT."""

__version__ = "0.1.0"
