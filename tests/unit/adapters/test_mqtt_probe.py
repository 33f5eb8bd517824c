from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from gateway.adapters.mqtt import LinkOptions
from gateway.adapters.mqtt_probe import Granted, Probe


class Line:
    """Stands where paho's client does: confirms all at once, whenever it is looked at."""

    def __init__(self, probe: Probe) -> None:
        self.most = 0
        self._probe = probe
        self._open: list[int] = []
        self._last = 0

    def publish(self, _topic: str, _payload: bytes, **_how: Any) -> Any:
        self._last += 1
        self._open.append(self._last)
        self.most = max(self.most, len(self._open))
        return type("Sent", (), {"mid": self._last})

    def loop(self, _patience: float) -> int:
        self._probe._codes.update(dict.fromkeys(self._open, ReasonCode(PacketTypes.PUBACK, "Success")))
        self._open.clear()
        return 0


@pytest.mark.parametrize(("granted", "at_once"), [({}, 20), ({"ReceiveMaximum": 3}, 3), ({"ReceiveMaximum": 100}, 20)])
def test_no_more_is_under_way_than_the_broker_takes(granted: dict[str, Any], at_once: int) -> None:
    probe = Probe(LinkOptions("doctor-1"))
    line = Line(probe)
    probe._client = line  # type: ignore[assignment]
    probe._granted = Granted("", False, granted, {})  # noqa: FBT003 - of a record
    codes = probe.publish_all("topic", [b"%d" % number for number in range(50)], expiry=60)
    assert (len(codes), line.most) == (50, at_once)
