import re
from collections.abc import Iterator

from gateway.codec import APPLIED, CREATED
from gateway.codes import CODES, status_of
from gateway.errors import Refusal
from tests.support.gateway_process import REPOSITORY

ROW = re.compile(r"^\| ([\d, ]+) \| (accepted|deferred|rejected) \| .* \| ([^|]*) \|$", re.MULTILINE)


def kinds(of: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    for kind in of.__subclasses__():
        if hasattr(kind, "code"):
            yield kind
        yield from kinds(kind)


def test_every_refusal_has_a_code_that_says_whether_to_send_again() -> None:
    assert {kind.code: kind.retryable for kind in kinds()} == {
        code: meaning.send_again for code, meaning in CODES.items() if code >= 400
    }


def test_what_took_effect_is_accepted() -> None:
    assert {status_of(APPLIED), status_of(CREATED)} == {"accepted"}


def test_the_protocol_tells_the_same_codes() -> None:
    told = {
        int(code): (status, again.startswith("yes"))
        for codes, status, again in ROW.findall((REPOSITORY / "docs" / "protocol.md").read_text())
        for code in codes.split(",")
    }
    assert told == {code: (meaning.status, meaning.send_again) for code, meaning in CODES.items()}
