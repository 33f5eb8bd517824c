"""What nobody should send: payloads of every nasty kind that a broker lets through."""

from typing import Final

from tests.support.raw_client import text

_DEEP: Final = 30_000

PAYLOADS: Final[dict[str, bytes]] = {
    "nothing": b"",
    "a space": b" ",
    "null": b"null",
    "a number": b"1",
    "a text": b'"text"',
    "an array": b"[]",
    "cut off": b'{"properties": {"a": 1',
    "two documents": b"{}{}",
    "a comma too many": b'{"properties": {"a": 1,}}',
    "single quotes": b"{'properties': {}}",
    "a byte order mark": b'\xef\xbb\xbf{"properties": {"a": 1}}',
    "UTF-16": '{"properties": {"a": 1}}'.encode("utf-16"),
    "no UTF-8": b'{"properties": {"a": "\xff\xfe"}}',
    "an overlong slash": b'{"properties": {"a": "\xc0\xaf"}}',
    "a surrogate as bytes": b'{"properties": {"a": "\xed\xa0\x80"}}',
    "a lone surrogate": b'{"properties": {"a": "\\ud800"}}',
    "a surrogate pair the wrong way round": b'{"properties": {"a": "\\udc00\\ud800"}}',
    "a zero character": b'{"properties": {"a": "\\u0000"}}',
    "a raw zero": b'{"properties": {"a": "\x00"}}',
    "control characters": b'{"properties": {"a": "\\u0007\\u001b[2J\\u202e"}}',
    "a non-character": b'{"properties": {"a": "\\uffff"}}',
    "deep arrays": b'{"properties": {"a": ' + b"[" * _DEEP + b"]" * _DEEP + b"}}",
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep and cut off": b"[" * 65_000,
    "just deep enough": b'{"properties": {"a": ' + b"[" * 29 + b"]" * 29 + b"}}",
    "a large integer": b'{"properties": {"a": 9007199254740993}}',
    "63 bits": b'{"properties": {"a": 9223372036854775807}}',
    "64 bits": b'{"properties": {"a": 18446744073709551615}}',
    "65 bits": b'{"properties": {"a": 18446744073709551616}}',
    "a large negative": b'{"properties": {"a": -9223372036854775809}}',
    "5,000 digits": b'{"properties": {"a": ' + b"9" * 5_000 + b"}}",
    "a float beyond all": b'{"properties": {"a": 1e400}}',
    "a float below all": b'{"properties": {"a": 1e-400}}',
    "minus zero": b'{"properties": {"a": -0.0}}',
    "not a number": b'{"properties": {"a": NaN}}',
    "infinity": b'{"properties": {"a": -Infinity}}',
    "octal": b'{"properties": {"a": 0777}}',
    "hexadecimal": b'{"properties": {"a": 0xff}}',
    "a repeated key": b'{"properties": {"a": 1}, "properties": {"a": 2}}',
    "a repeated key inside": b'{"properties": {"a": 1, "a": [2]}}',
    "an empty key": b'{"properties": {"": 1}}',
    "a key of Python's": b'{"properties": {"__class__": 1}}',
    "a long key": b'{"properties": {"' + b"k" * 10_000 + b'": 1}}',
    "many keys": b'{"properties": {' + b",".join(b'"k%d": 1' % number for number in range(5_000)) + b"}}",
    "a long text": b'{"properties": {"a": "' + b"x" * 60_000 + b'"}}',
    "a long array": b'{"properties": {"a": [' + b"0," * 30_000 + b"0]}}",
    "too much": b'{"properties": {"a": "' + b"x" * 200_000 + b'"}}',
    "null properties": b'{"properties": null}',
    "an array of properties": b'{"properties": [1]}',
    "a null value": b'{"properties": {"a": null}}',
    "an unknown field": b'{"properties": {"a": 1}, "sparkle": true}',
    "an envelope of nothing": b'{"data": null}',
    "data as a text": b'{"data": "{}"}',
    "a number as an id": b'{"command_id": 7, "data": {"properties": {"a": 1}}}',
    "an empty id": b'{"command_id": "", "data": {"properties": {"a": 1}}}',
    "a long id": b'{"command_id": "' + b"i" * 65 + b'", "data": {"properties": {"a": 1}}}',
    "an id with a line break": b'{"command_id": "a\\nb", "data": {"properties": {"a": 1}}}',
    "an id as long as allowed": b'{"command_id": "' + "ü".encode() * 64 + b'", "data": {"properties": {"a": 1}}}',
    "a time without an offset": b'{"expires_at": "2026-01-01T00:00:00", "data": {"properties": {"a": 1}}}',
    "a time of no calendar": b'{"expires_at": "2026-02-30T25:61:00Z", "data": {"properties": {"a": 1}}}',
    "the year 9999": b'{"expires_at": "9999-12-31T23:59:59.999999Z", "data": {"properties": {"a": 1}}}',
    "a time as a number": b'{"expires_at": 1e308, "data": {"properties": {"a": 1}}}',
    "an odd revision": b'{"expected_revision": -2, "data": {"properties": {"a": 1}}}',
    "a large revision": b'{"expected_revision": 18446744073709551615, "data": {"properties": {"a": 1}}}',
    "a wish for the impossible": b'{"wait_for": "godot", "data": {"properties": {"a": 1}}}',
    "a measurement at the end of time": b'{"measured_at": "9999-12-31T23:59:59Z", "properties": {"a": 1}}',
    "markup": b'{"properties": {"a": "<script>alert(1)</script>"}}',
    "a format string": b'{"properties": {"a": "{0.__class__} %s %n"}}',
    "SQL": b'{"properties": {"a": "\'; DROP TABLE events; --"}}',
}
"""By what is wrong with them, or only looks wrong."""

LEVELS: Final = [
    "pump",
    "a b",
    "ü",
    "%2e",
    "..",
    "-pump",
    "$SYS",
    "p" * 64,
    "p" * 65,
    "pump\x7f",
    "",
    " ",
    "\u202epmup",
]
"""Topic levels; only some are names."""

_FAR: Final = b"9223372036854775807"
_BEYOND: Final = b"18446744073709551615"

QUERIES: Final[dict[str, tuple[str, bytes]]] = {
    "400 levels": ("list", b'{"filter": {"a": ' + b"[" * 400 + b"]" * 400 + b"}}"),
    "a far revision, newest first": ("history", b'{"device": "pump", "order": "newest", "after": ' + _FAR + b"}"),
    "a far revision": ("history", b'{"device": "pump", "after": ' + _FAR + b"}"),
    "a revision beyond all": ("history", b'{"device": "pump", "after": ' + _BEYOND + b"}"),
    "a far position": ("feed", b'{"after": ' + _FAR + b"}"),
    "a position beyond all": ("feed", b'{"after": ' + _BEYOND + b"}"),
    "a state at a far revision": ("state_at", b'{"device": "pump", "at": ' + _FAR + b"}"),
    "a state at the beginning of time": ("state_at", b'{"device": "pump", "at": "0001-01-01T00:00:00+23:59"}'),
    "a state at the end of time": ("state_at", b'{"device": "pump", "at": "9999-12-31T23:59:59-23:59"}'),
    "changes from end to beginning": ("diff", b'{"device": "pump", "from": ' + _FAR + b', "to": -1}'),
    "a history of no time": (
        "history",
        b'{"device": "pump", "since": "9999-12-31T23:59:59Z", "until": "0001-01-01T00:00:00Z"}',
    ),
    "a cursor of nothing": ("list", b'{"cursor": "W1tdLDAsImEiXQ=="}'),
    "a cursor of an object": ("list", b'{"cursor": "e30="}'),
    "a cursor of another kind": ("alarms", b'{"cursor": "WzIsMWU5OSwiYSJd"}'),
    "a filter of 10,000 values": ("list", b'{"filter": {"id": {"in": [' + b"0," * 10_000 + b"0]}}}"),
    "paths of dots": ("list", b'{"sort": "-' + b"." * 200 + b'", "fields": ["' + b"." * 256 + b'"]}'),
    "a filter on everything": (
        "list",
        b'{"filter": {"reported": {"eq": {"a": [1, null]}}, "id": {"lt": 1, "gt": "a"}}}',
    ),
    "an id with a zero": ("outcome", b'{"command_id": "a\\u0000b"}'),
    "a position never reached": ("get", b'{"device": "pump", "min_position": ' + _BEYOND + b', "timeout_ms": 1}'),
    "a wait for what is there": ("feed", b'{"after": 0, "wait_ms": 30000, "limit": 1}'),
}
"""Queries, by what is wrong with them, or only looks wrong: name and payload."""

_RESPONSE_TOPIC: Final = b"\x08"
_CORRELATION: Final = b"\x09"
_CONTENT_TYPE: Final = b"\x03"
_USER: Final = b"\x26"
_EXPIRY: Final = b"\x02"

PROPERTIES: Final[dict[str, bytes]] = {
    "256 user properties": (_USER + text(b"a") + text(b"b")) * 256,
    "257 user properties": (_USER + text(b"a") + text(b"b")) * 257,
    "200,000 user properties": (_USER + text(b"") + text(b"")) * 200_000,
    "4 MB in user properties": (_USER + text(b"k" * 65_535) + text(b"v" * 65_535)) * 32,
    "a byte order mark": _USER + text("\ufeff".encode()) + text("\ufeff".encode()),
    "a user property that is no UTF-8": _USER + text(b"\xff") + text(b"\xc0\x80"),
    "a user property with a zero": _USER + text(b"\x00") + text(b"\x00"),
    "a trace that is none": _USER + text(b"traceparent") + text(b"00-" + b"g" * 52),
    "a correlation id with a line break": _USER + text(b"correlation_id") + text(b"a\nb"),
    "empty correlation data": _CORRELATION + text(b""),
    "long correlation data": _CORRELATION + text(b"\xff" * 65_535),
    "correlation data with a line break": _CORRELATION + text(b"a\nb"),
    "a content type": _CONTENT_TYPE + text(b"t" * 65_535),
    "no response topic": _RESPONSE_TOPIC + text(b""),
    "a long response topic": _RESPONSE_TOPIC + text(b"edge/gw1/ack/pump/" + b"a" * 65_000),
    "a deep response topic": _RESPONSE_TOPIC + text(b"edge/gw1/ack/pump" + b"/a" * 190),
    "a response topic of slashes": _RESPONSE_TOPIC + text(b"edge/gw1/ack/pump/" + b"/" * 30),
    "a response topic with a wildcard": _RESPONSE_TOPIC + text(b"edge/gw1/ack/pump/#"),
    "a response topic of the broker's": _RESPONSE_TOPIC + text(b"$SYS/broker/uptime"),
    "somebody else's response topic": _RESPONSE_TOPIC + text(b"edge/gw1/cmd/pump/pump/report"),
    "a response topic that is no UTF-8": _RESPONSE_TOPIC + text(b"edge/gw1/ack/pump/\xff"),
    "a response topic with a control character": _RESPONSE_TOPIC + text(b"edge/gw1/ack/pump/\x07"),
    "a response topic with a non-character": _RESPONSE_TOPIC + text("edge/gw1/ack/pump/\uffff".encode()),
    "no time left": _EXPIRY + b"\x00\x00\x00\x00",
    "all the time": _EXPIRY + b"\xff\xff\xff\xff",
    "text that is none": b"\x01\x01",
    "a property twice": (_CONTENT_TYPE + text(b"a")) * 2,
    "an alias": b"\x23\x00\x01",
}
"""MQTT 5 properties of a PUBLISH packet, encoded, by what is wrong with them; a broker takes only some."""

TOPICS: Final[dict[str, bytes]] = {
    "no UTF-8": b"edge/gw1/cmd/pump/pump/\xff",
    "overlong": b"edge/gw1/cmd/pump/pump/\xc0\xaf",
    "a surrogate": b"edge/gw1/cmd/pump/pump/\xed\xa0\x80",
    "a zero": b"edge/gw1/cmd/pump/pump/\x00",
    "a control character": b"edge/gw1/cmd/pump/pump/\x1b[2J",
    "a non-character": "edge/gw1/cmd/pump/pump/\uffff".encode(),
    "a byte order mark": "edge/gw1/cmd/pump/pump/\ufeff".encode(),
    "right to left": "edge/gw1/cmd/pump/pump/\u202etroper".encode(),
    "beyond the basic plane": "edge/gw1/cmd/pump/pump/\U0001f600".encode(),
    "look-alikes": "edge/gw1/cmd/pump/pump/r\u0435port".encode(),
    "long": b"edge/gw1/cmd/pump/pump/" + b"r" * 65_000,
    "empty levels": b"edge/gw1/cmd///",
}
"""Topics of commands, of which a broker takes only some."""
