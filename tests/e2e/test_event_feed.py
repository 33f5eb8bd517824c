"""Every event is published as a CloudEvent, once the read cache has it."""

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tests.support.site import Site
from tests.support.technician import Technician, retained


async def test_events_come_in_order_as_cloud_events(tech: Technician, device: str) -> None:
    await tech.watch(f"event/{device}/+")
    acks = [await tech.send(device, device, "register", {"model": "T-1000"})]
    acks += [await tech.send(device, device, "report", {"properties": {"rpm": rpm}}) for rpm in range(5)]
    last = acks[-1]["events"][-1]["id"]
    await tech.first(lambda message: message.body["id"] == last)
    told = [JSONFormat().read(CloudEvent, message.payload) for message in tech.received]
    assert [event.get_id() for event in told] == [event["id"] for ack in acks for event in ack["events"]]
    assert [message.topic for message in tech.received] == [f"event/{device}/{event.get_type()}" for event in told]
    assert [event.get_subject() for event in told] == [device] * 6
    assert [event.get_data() for event in told] == [message.body["data"] for message in tech.received]


async def test_an_event_tells_who_caused_it_and_with_which_command(tech: Technician, online: str) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await tech.watch(f"event/{online}/+")
    ack = await tech.send("alice", online, "suspend", id="c-1", correlation_id="order-66", traceparent=trace)
    message = await tech.first(lambda message: message.topic.endswith("/DeviceSuspended"))
    attributes = ("specversion", "actor", "commandid", "correlationid", "causationid", "traceparent")
    assert [message.body[name] for name in attributes] == ["1.0", "alice", "c-1", "order-66", "c-1", trace]
    assert (message.body["revision"], message.body["position"]) == (str(ack["revision"]), str(ack["position"]))
    assert message.content_type == "application/cloudevents+json"


async def test_no_event_is_retained(shared_site: Site, tech: Technician, online: str) -> None:
    await tech.until(f"state/{online}", lambda state: state["revision"] == 1)
    assert await retained(shared_site.broker.port, "event/#") == {}
