"""Questions over MQTT: about the read cache, the history in the log, and the gateway itself."""
