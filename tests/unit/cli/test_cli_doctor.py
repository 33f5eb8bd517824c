from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from gateway import doctor
from gateway.cli.exit_status import Exit
from gateway.doctor import broker_files
from gateway.doctor.findings import Finding, failed, fine, skipped, warning
from tests.support.command_line import Run

Find = Callable[..., None]


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Find:
    """Let the doctor find just this."""

    def one(*findings: Finding) -> None:
        def check(_settings: object) -> Iterable[Finding]:
            return findings

        monkeypatch.setattr(doctor, "CHECKS", {"disk": check})
        # what lies on this machine by chance is none of the tests' business
        monkeypatch.setattr(broker_files, "check_broker_files", lambda _places, _authority: ())

    return one


def test_warnings_are_no_failure_and_failures_are(on_state: Run, find: Find) -> None:
    find(fine("much room"), warning("slow", "a better card"), skipped("unknown"))
    assert on_state("doctor").status == Exit.OK
    find(warning("slow", "a better card"), failed("full", "make room"))
    assert on_state("doctor").status == Exit.NO


def test_each_finding_stands_over_its_remedy(on_state: Run, find: Find) -> None:
    find(fine("much room"), failed("full\x1b[2J", "make room"))
    ran = on_state("doctor")
    assert ran.out.splitlines() == [
        "ok      settings: they are right",
        "ok      disk: much room",
        "failed  disk: full\\x1b[2J",
        "        -> make room",
    ]
    assert ran.err == "2 ok, 0 skipped, 0 warning, 1 failed\n"


def test_quiet_is_silent_where_all_is_well(on_state: Run, find: Find) -> None:
    find(fine("much room"), skipped("unknown"))
    ran = on_state("doctor", "--quiet")
    assert (ran.status, ran.out, ran.err) == (Exit.OK, "", "")


def test_as_json_each_finding_is_an_object(on_state: Run, find: Find) -> None:
    find(failed("full", "make room"), fine("quick"))
    assert on_state("doctor", "--json").objects[1:] == [
        {"check": "disk", "level": "failed", "detail": "full", "remedy": "make room"},
        {"check": "disk", "level": "ok", "detail": "quick", "remedy": None},
    ]


def test_the_brokers_files_are_looked_for_where_the_options_say(on_state: Run, find: Find, tmp_path: Path) -> None:
    find()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(broker_files, "check_broker_files", lambda places, ca: [fine(f"{places.revoked} {ca}")])
        ran = on_state("doctor", "--mosquitto", str(tmp_path), "--ca", "/ca")
    assert ran.out.splitlines()[-1] == f"ok      broker's files: {tmp_path}/certs/crl.pem /ca"


def test_with_wrong_settings_nothing_is_checked(cli: Run, find: Find) -> None:
    find(failed("never looked at", "-"))
    ran = cli("doctor", "--config", "/nowhere/gateway.toml")
    assert (ran.status, ran.out) == (Exit.SETTINGS, "")
