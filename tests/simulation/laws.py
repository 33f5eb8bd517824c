"""What has to hold of every run. Reads what senders sent, what they were told, and the log; knows no gateway. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import combinations, pairwise
from typing import Any, Final

import orjson

from gateway.codec import StateCodec, read_metadata
from gateway.domain.device import DEVICE
from gateway.messages import RecordedEvent
from gateway.ports import ReadModel
from tests.simulation.broker import ROOT, Body, Broker, Key
from tests.simulation.event_log import Log
from tests.simulation.senders import PARKED, REUSED, TRANSIENT, Command, Ledger
from tests.support.judge import WITH_EFFECT, altered

STRANGER: Final = "somebody-else"


def broken(ledger: Ledger, broker: Broker, log: Log, *, ordered: bool) -> list[str]:
    """Every promise to senders that a run has broken; ``ordered`` is whether the broker keeps its order."""
    effects = _effects(log.events)
    return [
        *(
            f"{key}: is in the log, but nobody sent it"
            for key in effects
            if key not in ledger.sent and key[0] != STRANGER
        ),
        *(
            f"{key}: {fault}"
            for key, one in ledger.sent.items()
            for fault in _verdict(one, broker, effects.get(key, ()))
        ),
        *altered({key: (one.name, one.data) for key, one in ledger.sent.items()}, _told(log.events)),
        *_disorder(broker, effects, ordered=ordered),
    ]


def _effects(events: Sequence[RecordedEvent]) -> dict[Key, list[RecordedEvent]]:
    effects: defaultdict[Key, list[RecordedEvent]] = defaultdict(list)
    for event in events:
        effects[_key(event)].append(event)
    return effects


def _told(events: Sequence[RecordedEvent]) -> Iterator[tuple[Key, str, Body]]:
    for event in events:
        yield _key(event), event.type, orjson.loads(event.data)


def _key(event: RecordedEvent) -> Key:
    metadata = read_metadata(event)
    return str(metadata["actor"]), event.stream.removeprefix("device-"), str(metadata["command_id"])


def _verdict(one: Command, broker: Broker, effects: Sequence[RecordedEvent]) -> Iterator[str]:
    final = [body for body in broker.answers[one.key] if is_final(body)]
    if one.dry_run:
        if effects:
            yield "was to be dry, but has an effect"
        return
    if not final:
        yield "has no final answer"
        return
    first = final[0]
    if any(_content(body) != _content(first) for body in final):
        yield f"was given answers that differ: {[_content(body) for body in final]}"
    if sum(not body["duplicate"] for body in final) > 1:
        yield "was called new more than once"
    if bool(effects) != (first["code"] in WITH_EFFECT):
        yield f"was answered {first['code']}, and the log has {len(effects)} events of it"
    told = [(event["id"], event["type"], event["revision"]) for event in first["events"]]
    there = [(str(event.id), event.type, event.revision) for event in effects]
    if told != there:
        yield f"was answered {first['code']} with {told}, but the log has {there}"
    if effects and (first["position"], datetime.fromisoformat(first["received_at"])) != (
        effects[-1].position,
        datetime.fromisoformat(str(read_metadata(effects[0])["received_at"])),
    ):
        yield f"was told position {first['position']} and {first['received_at']}, which is not what the log has"


def is_final(body: Body) -> bool:
    """Whether an answer settles its command."""
    return body["code"] not in TRANSIENT and body["code"] != PARKED and body.get("error", {}).get("type") != REUSED


def _content(body: Body) -> Body:
    return {name: value for name, value in body.items() if name not in {"duplicate", "epoch"}}


def _disorder(broker: Broker, effects: Mapping[Key, Sequence[RecordedEvent]], *, ordered: bool) -> Iterator[str]:
    """Per device in the order in which the broker delivered, but for what it lost and what was to be sent again.

    A broker that brings messages again in another order decides by that about those that had no effect yet. There,
    less is promised: what was delivered for the last time before another was delivered at all takes effect before it.
    """
    devices: defaultdict[str, list[tuple[int, int, Key]]] = defaultdict(list)
    for key, (first, last) in broker.delivered.items():
        again = any(body["code"] in TRANSIENT - {408} for body in broker.answers[key])
        if effects.get(key) and not again and key not in broker.dropped:
            devices[key[1]].append((first, last, key))
    for commands in devices.values():
        commands.sort()
        pairs = pairwise(commands) if ordered else combinations(commands, 2)
        for (_, last, earlier), (first, _, later) in pairs:
            if (ordered or last < first) and effects[earlier][0].position > effects[later][0].position:
                yield f"{later} took effect before {earlier}, which was delivered first"


def checkpoint(file: bytes, log: Log) -> Iterator[str]:
    """A flushed read cache is one moment of the log: its documents and its checkpoint agree."""
    tables = orjson.loads(file)
    [found] = tables["checkpoint"].values()
    last = {event.stream: event for event in log.events[: found["position"]]}
    documents = {document["id"]: document for document in tables.get("devices", {}).values()}
    for stream, event in last.items():
        device = stream.removeprefix("device-")
        if documents.get(device, {}).get("revision") != event.revision:
            yield f"the read cache says position {found['position']}, but {device} is not at revision {event.revision}"
    if extra := documents.keys() - {stream.removeprefix("device-") for stream in last}:
        yield f"the read cache says position {found['position']}, but has {sorted(extra)}"


def read_side(cache: ReadModel, broker: Broker, log: Log) -> Iterator[str]:
    """In the end the read cache is what the log says, and the broker has what the read cache says, and every event."""
    for stream, events in log.streams.items():
        if not events:
            continue
        device = stream.removeprefix("device-")
        expected = _document(events)
        document = cache.get("devices", device) or {}
        if {name: document.get(name) for name in expected} != expected:
            yield f"the read cache has {document} of {device}, not {expected}"
        retained = broker.retained.get(f"{ROOT}/state/{device}")
        wanted = b"" if expected["lifecycle"] == "decommissioned" else cache.encoded("devices", device)
        if retained != wanted:
            yield f"the broker keeps {retained!r} of {device}, not {wanted!r}"
    if lacking := {str(event.id) for event in log.events} - set(broker.feed):
        yield f"{len(lacking)} events were never published"


def _document(events: Sequence[RecordedEvent]) -> dict[str, Any]:
    state = DEVICE.initial
    for event in events:
        cls = next(cls for cls in DEVICE.events if cls.__name__ == event.type)
        state = DEVICE.evolve(state, cls.model_validate_json(event.data))
    return {**StateCodec.of(DEVICE).to_document(state), "revision": events[-1].revision}
