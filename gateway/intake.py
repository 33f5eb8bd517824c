"""A delivery becomes a request: parsed, bounded, checked, with its verdict if it is already refused. Pure.

A refusal found here travels on like any other request, because it has to be remembered under its command id: what was
refused once is never accepted later. Only where the topic names no actor, device or command is there nobody to answer.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Any, Final

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
)

from gateway.access import Access
from gateway.domain.catalogue import Catalogue
from gateway.domain.decider import Command, Decider, Role, Timestamp
from gateway.domain.outages import GATEWAY
from gateway.errors import BadEnvelope, Gone, Invalid, NotFound, NotPermitted, Refusal, TooLarge
from gateway.ids import MAX_COMMAND_ID, event_id, is_command_id, new_id
from gateway.messages import MessageProperties, ReplyTo, Request, WaitFor
from gateway.ports import Delivery
from gateway.topics import CommandTopic, Topics

MAX_DEPTH: Final = 32
MAX_ERRORS_TOLD: Final = 10
_MAX_TEXT_TOLD: Final = 64
_MAX_CORRELATION_ID: Final = 128
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


def _command_id(value: str) -> str:
    if not is_command_id(value):
        raise ValueError(f"must be 1 to {MAX_COMMAND_ID} printable characters")
    return value


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be printable")
    return value


CorrelationId = Annotated[str, Field(min_length=1, max_length=_MAX_CORRELATION_ID), AfterValidator(_printable)]


class Envelope(BaseModel):
    """The fields around a command's own data."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    command_id: Annotated[str, AfterValidator(_command_id)] | None = None
    data: dict[str, Any] = {}
    issued_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    expected_revision: Annotated[int, Field(ge=-1)] | None = None
    wait_for: Annotated[WaitFor, Field(strict=False)] = WaitFor.PERSISTED
    dry_run: bool = False
    correlation_id: CorrelationId | None = None
    traceparent: Annotated[str, Field(pattern=f"^{_TRACEPARENT.pattern}$")] | None = None


_ENVELOPE_FIELDS: Final = frozenset(Envelope.model_fields)
_NO_ENVELOPE: Final = Envelope()


@dataclass(frozen=True, slots=True)
class Intake:
    """Reads commands. One instance serves for ever; it keeps nothing.

    Attributes:
        max_payload: in bytes; what is larger is not even parsed.
        gateway: its own name, which no device may have.
    """

    topics: Topics
    catalogue: Catalogue
    access: Access
    max_payload: int
    gateway: str = ""

    def read_command(self, delivery: Delivery, received_at: datetime, made_id: str | None = None) -> Request:
        """Make a request of a delivery.

        Args:
            delivery: as the broker gave it, now or before it was parked.
            received_at: when it came, in UTC.
            made_id: the id that the gateway made then, if its sender gave none.

        Raises:
            UnreadableTopic: nobody can be answered.
        """
        topic = self.topics.parse_command(delivery.topic)
        properties = delivery.properties
        try:
            envelope, content = self._open(delivery.payload, topic)
            refusal = None
        except Refusal as error:
            envelope, content, refusal = _NO_ENVELOPE, delivery.payload[: self.max_payload], _bare(error)
        reply, misdirected = self._reply_to(properties, topic)
        sent_id = envelope.command_id or _correlated_id(properties.correlation_data)
        command_id = sent_id or made_id or new_id()
        expires_at = envelope.expires_at
        if expires_at is None and properties.expiry is not None:
            expires_at = received_at + timedelta(seconds=properties.expiry)
        command = decider = role = None
        if refusal is None:
            refusal = _excessive(properties) or misdirected or _retained(delivery)
        if refusal is None:
            try:
                command, decider, role = self._command(topic, content)
            except Refusal as error:
                refusal = _bare(error)
        return Request(
            key=event_id(topic.actor, topic.device, command_id, 0),
            command_id=command_id,
            sender_gave_id=sent_id is not None,
            actor=topic.actor,
            device=topic.device,
            name=topic.command,
            role=role,
            command=command,
            decider=decider,
            refusal=refusal,
            digest=_digest(topic.command, envelope.expected_revision, content),
            received_at=received_at,
            reply=reply,
            issued_at=envelope.issued_at,
            expires_at=expires_at,
            expected_revision=envelope.expected_revision,
            wait_for=envelope.wait_for,
            dry_run=envelope.dry_run,
            correlation_id=envelope.correlation_id or _user_property(properties, "correlation_id", _is_correlation_id),
            traceparent=envelope.traceparent or _user_property(properties, "traceparent", _is_traceparent),
        )

    def _open(self, payload: bytes, topic: CommandTopic) -> tuple[Envelope, bytes]:
        """The envelope, and the command's data as canonical JSON."""
        if len(payload) > self.max_payload:
            raise TooLarge(f"the payload has over {self.max_payload} bytes")
        body = read_json(payload)
        if not isinstance(body, dict):
            raise BadEnvelope("the payload must be a JSON object")
        if _ENVELOPE_FIELDS.isdisjoint(body):
            return _NO_ENVELOPE, orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        try:
            envelope = Envelope.__pydantic_validator__.validate_python(body)
        except ValidationError as error:
            raise invalid(BadEnvelope, error, topic.command, "") from None
        return envelope, orjson.dumps(envelope.data, option=orjson.OPT_SORT_KEYS)

    def _command(self, topic: CommandTopic, content: bytes) -> tuple[Command, Decider[Any], Role]:
        if self.access.is_stranger(topic.actor, topic.device):
            raise NotPermitted(f"{topic.actor} is neither {topic.device} nor one of its operators")
        known = self.catalogue.command(topic.command)
        if known is None:
            raise NotFound(f"there is no command {topic.command}", type="unknown-command")
        cls, decider = known
        if topic.device == self.gateway and decider is not GATEWAY:
            raise NotFound(f"{topic.device} is the gateway itself, no device")
        role = self.access.role(topic.actor, topic.device, cls)
        try:
            return cls.__pydantic_validator__.validate_json(content), decider, role
        except ValidationError as error:
            raise invalid(Invalid, error, topic.command, "data") from None

    def _reply_to(self, properties: MessageProperties, topic: CommandTopic) -> tuple[ReplyTo, Refusal | None]:
        default = self.topics.ack(topic.actor, topic.device)
        wanted = properties.response_topic
        if wanted is None or self.topics.may_answer_on(wanted, topic.actor):
            return ReplyTo(wanted or default, properties.correlation_data), None
        refusal = NotPermitted(
            f"a Response Topic must lie below {self.topics.ack(topic.actor, '')}, be of moderate length, and printable",
            type="response-topic-not-permitted",
        )
        return ReplyTo(default, properties.correlation_data), refusal


def _bare(refusal: Refusal) -> Refusal:
    """The refusal without how it came about.

    That leads through pydantic's error, which Python's garbage collector cannot see into, back to whoever keeps the
    refusal: so nothing of it, the payload least of all, would ever be freed.
    """
    refusal.__traceback__ = refusal.__context__ = None
    return refusal


def read_json(payload: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """The JSON value in a payload, an empty object where there is none.

    Raises:
        BadEnvelope: it is not JSON, or nested so deep that not everybody can read or write it.
    """
    try:
        body = orjson.loads(payload) if payload else {}
    except orjson.JSONDecodeError as error:
        raise BadEnvelope(f"not JSON: {error}", type="not-json") from None
    # each level opens a bracket, so few brackets need no walk
    if payload.count(b"{") + payload.count(b"[") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise BadEnvelope(f"nested over {MAX_DEPTH} levels deep", type="too-deep")
    return body


def _excessive(properties: MessageProperties) -> Refusal | None:
    return None if properties.complete else TooLarge("there are more MQTT properties than the gateway reads")


def _retained(delivery: Delivery) -> Refusal | None:
    if delivery.retain:
        return Gone("published as retained: it would run again at every restart", type="retained")
    return None


def _digest(command: str, expected_revision: int | None, content: bytes) -> bytes:
    """What a copy must share with the original: the command, its data, and the revision that it insists on."""
    head = f"{command}\n{'' if expected_revision is None else expected_revision}\n"
    return blake2b(head.encode() + content, digest_size=16).digest()


def _correlated_id(correlation: bytes | None) -> str | None:
    """Correlation Data as a command id: its text, or in hexadecimal where it is a short binary value."""
    if not correlation:
        return None
    try:
        text = correlation.decode()
    except UnicodeDecodeError:
        text = correlation.hex()
    if is_command_id(text):
        return text
    return correlation.hex() if len(correlation) <= MAX_COMMAND_ID // 2 else None


def _is_correlation_id(value: str) -> bool:
    return 0 < len(value) <= _MAX_CORRELATION_ID and value.isprintable()


def _is_traceparent(value: str) -> bool:
    return _TRACEPARENT.fullmatch(value) is not None


def _user_property(properties: MessageProperties, name: str, is_valid: Callable[[str], bool]) -> str | None:
    for key, value in properties.user:
        if key == name and is_valid(value):
            return value
    return None


def _depth(value: JsonValue) -> int:
    """How many objects and arrays lie one inside the other; level by level, so no recursion."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [child for item in level for child in _children(item) if isinstance(child, dict | list)]
    return depth


def _children(item: JsonValue) -> Iterator[JsonValue]:
    if isinstance(item, dict):
        yield from item.values()
    elif isinstance(item, list):
        yield from item


def invalid(kind: type[BadEnvelope | Invalid], error: ValidationError, name: str, prefix: str) -> Refusal:
    """A refusal that names the first fields at fault, with bounded texts."""
    found = error.errors(include_url=False, include_context=False)
    paths = [".".join(filter(None, (prefix, *map(str, one["loc"])))) for one in found[:MAX_ERRORS_TOLD]]
    texts = [f"{path[:_MAX_TEXT_TOLD]}: {one['msg']}" for path, one in zip(paths, found, strict=False)]
    more = f" (and {len(found) - MAX_ERRORS_TOLD} more)" if len(found) > MAX_ERRORS_TOLD else ""
    value = found[0]["input"]
    scalar = value is None or isinstance(value, str | int | float)
    return kind(
        f"{name}: {'; '.join(texts)}{more}",
        field=paths[0][: 2 * _MAX_TEXT_TOLD],
        value=(value[:_MAX_TEXT_TOLD] if isinstance(value, str) else value) if scalar else None,
    )
