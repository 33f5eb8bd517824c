"""Every command of a device, as its senders see it."""

from tests.support.technician import Technician, verdict

OPERATOR = "alice"
MODEL = {"model": "T-1000"}


async def test_a_device_registers_itself_once(tech: Technician, device: str) -> None:
    assert verdict(await tech.send(device, device, "register", MODEL)) == (201, "DeviceRegistered")
    assert verdict(await tech.send(device, device, "register", MODEL)) == (204,)
    assert verdict(await tech.send(device, device, "register", {"model": "T-2000"})) == (422, "already-registered")


async def test_an_operator_registers_a_device(tech: Technician, device: str) -> None:
    assert verdict(await tech.send(OPERATOR, device, "register", MODEL)) == (201, "DeviceRegistered")


async def test_a_device_connects_and_its_new_firmware_is_noticed(tech: Technician, device: str) -> None:
    await tech.send(device, device, "register", {**MODEL, "firmware": "1.0"})
    assert verdict(await tech.send(device, device, "connect", {"firmware": "1.0"})) == (200, "DeviceConnected")
    upgraded = await tech.send(device, device, "connect", {"firmware": "1.1"})
    assert verdict(upgraded) == (200, "DeviceConnected", "FirmwareChanged")


async def test_a_device_disconnects_once(tech: Technician, online: str) -> None:
    assert verdict(await tech.send(online, online, "disconnect", {"reason": "battery"})) == (200, "DeviceDisconnected")
    assert verdict(await tech.send(online, online, "disconnect")) == (204,)


async def test_a_report_causes_an_event_of_what_changed_only(tech: Technician, online: str) -> None:
    await tech.watch(f"event/{online}/+")
    await tech.send(online, online, "report", {"properties": {"rpm": 900, "temperature": 41.5}})
    ack = await tech.send(online, online, "report", {"properties": {"rpm": 950, "temperature": 41.5}})
    event = await tech.first(lambda message: message.body.get("id") == ack["events"][0]["id"])
    assert verdict(ack) == (200, "PropertiesReported")
    assert event.body["data"]["properties"] == {"rpm": 950}
    assert verdict(await tech.send(online, online, "report", {"properties": {"rpm": 950}})) == (204,)


async def test_a_configuration_counts_as_applied_once_the_device_reports_it(tech: Technician, online: str) -> None:
    wanted = {"properties": {"rpm": 1200}}
    assert verdict(await tech.send(OPERATOR, online, "configure", wanted)) == (200, "ConfigurationRequested")
    assert verdict(await tech.send(OPERATOR, online, "configure", wanted)) == (204,)
    applied = await tech.send(online, online, "report", wanted)
    assert verdict(applied) == (200, "PropertiesReported", "ConfigurationApplied")


async def test_a_device_refuses_the_pending_configuration_only(tech: Technician, online: str) -> None:
    await tech.send(OPERATOR, online, "configure", {"properties": {"rpm": 99_999}})
    wrong = await tech.send(online, online, "refuse-configuration", {"version": 7, "reason": "too fast"})
    assert verdict(wrong) == (422, "version-not-pending")
    refused = await tech.send(online, online, "refuse-configuration", {"version": 1, "reason": "too fast"})
    assert verdict(refused) == (200, "ConfigurationRefused")


async def test_an_alarm_is_raised_acknowledged_and_cleared(tech: Technician, online: str) -> None:
    hot = {"code": "overheat", "severity": "warning"}
    assert verdict(await tech.send(online, online, "raise-alarm", hot)) == (200, "AlarmRaised")
    assert verdict(await tech.send(online, online, "raise-alarm", hot)) == (204,)
    hotter = await tech.send(online, online, "raise-alarm", {**hot, "severity": "critical"})
    assert verdict(hotter) == (200, "AlarmRaised")
    code = {"code": "overheat"}
    assert verdict(await tech.send(OPERATOR, online, "acknowledge-alarm", code)) == (200, "AlarmAcknowledged")
    assert verdict(await tech.send(OPERATOR, online, "acknowledge-alarm", code)) == (204,)
    assert verdict(await tech.send(OPERATOR, online, "clear-alarm", code)) == (200, "AlarmCleared")
    assert verdict(await tech.send(online, online, "clear-alarm", code)) == (204,)
    assert verdict(await tech.send(OPERATOR, online, "acknowledge-alarm", code)) == (422, "alarm-not-active")


async def test_an_operator_annotates_a_device(tech: Technician, online: str) -> None:
    note = {"name": "North pump", "location": "Hall 3", "labels": {"line": "a"}}
    assert verdict(await tech.send(OPERATOR, online, "annotate", note)) == (200, "DeviceAnnotated")
    assert verdict(await tech.send(OPERATOR, online, "annotate", note)) == (204,)


async def test_a_suspended_device_may_not_report_until_it_is_resumed(tech: Technician, online: str) -> None:
    report = {"properties": {"rpm": 1}}
    assert verdict(await tech.send(OPERATOR, online, "suspend", {"reason": "repair"})) == (200, "DeviceSuspended")
    assert verdict(await tech.send(OPERATOR, online, "suspend")) == (204,)
    assert verdict(await tech.send(online, online, "report", report)) == (422, "suspended")
    assert verdict(await tech.send(OPERATOR, online, "resume")) == (200, "DeviceResumed")
    assert verdict(await tech.send(OPERATOR, online, "resume")) == (204,)
    assert verdict(await tech.send(online, online, "report", report)) == (200, "PropertiesReported")


async def test_a_decommissioned_device_is_out_until_it_is_recommissioned(tech: Technician, online: str) -> None:
    why = {"reason": "scrapped"}
    assert verdict(await tech.send(OPERATOR, online, "recommission", why)) == (422, "not-decommissioned")
    assert verdict(await tech.send(OPERATOR, online, "decommission", why)) == (200, "DeviceDecommissioned")
    assert verdict(await tech.send(OPERATOR, online, "decommission", why)) == (204,)
    assert verdict(await tech.send(online, online, "connect")) == (422, "decommissioned")
    assert verdict(await tech.send(OPERATOR, online, "recommission", why)) == (200, "DeviceRecommissioned")
    assert verdict(await tech.send(online, online, "connect")) == (200, "DeviceConnected")
