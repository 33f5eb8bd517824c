"""An independent judge of a run: what was sent and acknowledged on one side, the event log on the other. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from tests.support.event_log import LoggedEvent
from tests.support.technician import Body

_MERGED: Final = {"PropertiesReported": "reported", "ConfigurationRequested": "desired"}
"""What an event's properties are merged into; none of those sent is null, which would take one away."""

_SAYING: Final = {"report": "reported", "configure": "desired"}
"""Commands that carry properties, and what these are merged into."""

WITH_EFFECT: Final = frozenset({200, 201})
"""The codes that tell of events; 204 is accepted as well, but changes nothing."""

Key = tuple[str, str, str]
"""Of a command: its actor, its device, its id."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A command as its sender knows it; ``code`` is what it must be answered with."""

    actor: str
    device: str
    command: str
    id: str
    data: Mapping[str, Any]
    code: int

    @property
    def key(self) -> Key:
        return self.actor, self.device, self.id


def faults(
    sent: Sequence[Sent],
    acks: Mapping[str, Sequence[Body]],
    log: Sequence[LoggedEvent],
    *,
    gapless: bool = True,
    forgotten: Collection[Key] = (),
) -> list[str]:
    """Everything that breaks a promise: none in a good run.

    Args:
        sent: the commands, each sender's in the order in which he sent them first.
        acks: all acknowledgements of each command id.
        log: all events.
        gapless: whether positions count the events, as in the embedded store.
        forgotten: the commands whose first copy the broker may have forgotten: they took effect when they came again.
    """
    effects: defaultdict[Key, list[LoggedEvent]] = defaultdict(list)
    for event in log:
        if not event.is_of_gateway:
            effects[event.command].append(event)
    found = [
        *_gaps(log, gapless=gapless),
        *(f"nobody sent {key}" for key in effects.keys() - {one.key for one in sent}),
    ]
    for one in sent:
        found += (f"{one.key}: {fault}" for fault in _verdict_faults(one, acks.get(one.id, ()), effects[one.key]))
    told = ((event.command, event.type, event.data) for event in log if not event.is_of_gateway)
    found += altered({one.key: (one.command, one.data) for one in sent}, told)
    found += _disorder([one for one in sent if one.key not in forgotten], effects)
    return found


def cache_faults(log: Sequence[LoggedEvent], documents: Mapping[str, Body]) -> list[str]:
    """Where the read cache is not what follows from the log, as far as can be said without the gateway's own rules."""
    folded: defaultdict[str, Body] = defaultdict(lambda: {"reported": {}, "desired": {}})
    for event in log:
        document = folded[event.device]
        document |= {"revision": event.revision, "position": event.position, "degraded": False}
        if event.type in _MERGED:
            document[_MERGED[event.type]] |= event.data["properties"]
    found = [f"the cache has {id_}, the log has not" for id_ in documents.keys() - folded.keys()]
    for id_, expected in folded.items():
        document = documents.get(id_, {})
        shown = {name: document.get(name, {}) for name in expected}
        if shown != expected:
            found.append(f"{id_}: the log says {expected}, the cache {shown}")
    return found


def altered(said: Mapping[Key, tuple[str, Mapping[str, Any]]], told: Iterable[tuple[Key, str, Body]]) -> Iterator[str]:
    """Where the log tells other properties than were sent.

    An event has nothing that its command did not say. It may have less, where that was so already: with it and all
    before it everything that the command said is so.

    Args:
        said: name and data of each command.
        told: command, type and data of each event, in the order of the log.
    """
    so_far: defaultdict[tuple[str, str], Body] = defaultdict(dict)
    for key, type_, data in told:
        if type_ in _MERGED:
            so_far[key[1], _MERGED[type_]] |= data["properties"]
        name, sent = said.get(key, ("", {}))
        if name not in _SAYING:
            continue
        properties = sent.get("properties", {})
        if type_ in _MERGED and not data["properties"].items() <= properties.items():
            yield f"{key}: said {properties}, but the log has {data['properties']}"
        elif not properties.items() <= so_far[key[1], _SAYING[name]].items():
            yield f"{key}: said {properties}, but what is so behind it is {so_far[key[1], _SAYING[name]]}"


def _gaps(log: Sequence[LoggedEvent], *, gapless: bool) -> Iterator[str]:
    revisions: defaultdict[str, int] = defaultdict(int)
    last = 0
    for event in log:
        if event.position <= last or (gapless and event.position != last + 1):
            yield f"position {event.position} stands behind {last}"
        last = event.position
        if event.revision != revisions[event.stream]:
            yield f"{event.stream}: revision {event.revision} stands where {revisions[event.stream]} belongs"
        revisions[event.stream] += 1


def _verdict_faults(one: Sent, acks: Sequence[Body], effects: Sequence[LoggedEvent]) -> Iterator[str]:
    if not acks:
        yield "was never acknowledged"
        return
    if any(ack["code"] != one.code for ack in acks):
        yield f"was answered {[ack['code'] for ack in acks]} instead of {one.code}"
    if any(_answer(ack) != _answer(acks[0]) for ack in acks):
        yield "was given answers that differ"
    if sum(not ack["duplicate"] for ack in acks) > 1:
        yield "was called new more than once"
    if bool(effects) != (acks[0]["code"] in WITH_EFFECT):
        yield f"was answered {acks[0]['code']}, and the log has {len(effects)} events of it"
    if _told(acks[0]) != [(event.id, event.type, event.revision) for event in effects]:
        yield f"was told {_told(acks[0])}, but the log has {effects}"
    if effects and acks[0]["position"] != effects[-1].position:
        yield f"was told position {acks[0]['position']}, but the log has {effects[-1].position}"


def _answer(ack: Body) -> Body:
    return {name: value for name, value in ack.items() if name not in {"duplicate", "epoch"}}


def _told(ack: Body) -> list[tuple[str, str, int]]:
    return [(event["id"], event["type"], event["revision"]) for event in ack["events"]]


def _disorder(sent: Sequence[Sent], effects: Mapping[Key, Sequence[LoggedEvent]]) -> Iterator[str]:
    lines: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for one in sent:
        lines[one.actor, one.device] += [event.position for event in effects.get(one.key, ())]
    for (actor, device), positions in lines.items():
        if any(later <= earlier for earlier, later in pairwise(positions)):
            yield f"the commands of {actor} for {device} took effect in another order than he sent them"
