from dataclasses import replace
from typing import Any

import pytest

from gateway.domain import DECIDERS
from gateway.domain.catalogue import Catalogue, stream_of
from gateway.domain.decider import Decider
from gateway.domain.device import DEVICE
from gateway.domain.device_commands import Report
from gateway.domain.device_events import DeviceRegistered

CATALOGUE = Catalogue(DECIDERS)
NOTHING: dict[str, Any] = {"commands": (), "events": ()}


def test_the_device_is_served() -> None:
    assert DEVICE in CATALOGUE


def test_a_command_is_found_by_its_name_together_with_its_aggregate() -> None:
    assert CATALOGUE.command("report") == (Report, DEVICE)
    assert CATALOGUE.command("explode") is None


def test_an_event_is_found_by_the_name_of_its_class() -> None:
    assert CATALOGUE.event("DeviceRegistered") is DeviceRegistered
    assert CATALOGUE.event("DeviceExploded") is None


@pytest.mark.parametrize("device", ["pump-7", "a", "a-b-c"])
def test_a_stream_leads_back_to_its_device(device: str) -> None:
    assert CATALOGUE.locate(stream_of(DEVICE, device)) == (DEVICE, device)


@pytest.mark.parametrize("stream", ["pump-7", "device", "devices-7", "$ce-device"])
def test_a_foreign_stream_leads_nowhere(stream: str) -> None:
    assert CATALOGUE.locate(stream) is None


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (replace(DEVICE, collection="others", **NOTHING), "category 'device'"),
        (replace(DEVICE, category="other", **NOTHING), "collection 'devices'"),
        (replace(DEVICE, category="other", collection="others", events=()), "command 'register'"),
        (replace(DEVICE, category="other", collection="others", commands=()), "event type 'DeviceRegistered'"),
    ],
)
def test_a_name_that_is_claimed_twice_is_an_error(other: Decider[Any], what: str) -> None:
    with pytest.raises(ValueError, match=f"{what} is claimed twice"):
        Catalogue((DEVICE, other))


def test_a_category_with_a_dash_is_an_error_for_its_streams_could_not_be_told_apart() -> None:
    with pytest.raises(ValueError, match="must not contain '-'"):
        Catalogue((replace(DEVICE, category="big-device"),))
