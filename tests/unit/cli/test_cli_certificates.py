import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from gateway.adapters.authority_dir import AuthorityDir
from gateway.certificates import issue_for_device, name_of
from gateway.ids import is_name
from tests.support.command_line import Ran, Run

SETTINGS = '[[operators]]\nactors = ["alice", "ops-*"]\n'

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Desk:
    """Somebody who enrols devices, in a directory of his own."""

    def __init__(self, cli: Run, top: Path) -> None:
        self.top = top
        self._cli = cli
        self._config = top / "gateway.toml"
        self._config.write_text(SETTINGS)

    def found(self) -> Ran:
        return self._run("broker-certificate", "127.0.0.1", "gw1.lan", "--mosquitto", self.top / "m", *self._settings)

    def enrol(self, name: str, *options: str | Path) -> Ran:
        return self._run("enrol", name, "--out", self.top / name, *self._settings, *options)

    def revoke(self, name: str, mosquitto: str = "m") -> Ran:
        return self._run("revoke", name, "--mosquitto", self.top / mosquitto)

    def certificates(self, *options: str, mosquitto: str = "m") -> Ran:
        return self._run("certificates", "--mosquitto", self.top / mosquitto, *options)

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.top / name / "cert.pem").read_bytes())

    def installed(self) -> x509.CertificateRevocationList:
        return x509.load_pem_x509_crl((self.top / "m" / "certs" / "crl.pem").read_bytes())

    @property
    def _settings(self) -> tuple[str | Path, ...]:
        return ("--config", self._config)

    def _run(self, *arguments: str | Path) -> Ran:
        return self._cli(*arguments, "--ca", self.top / "ca")


@pytest.fixture
def desk(cli: Run, tmp_path: Path) -> Desk:
    one = Desk(cli, tmp_path)
    assert one.found().status == 0
    return one


def test_a_device_gets_a_certificate_of_its_name_with_its_key(desk: Desk) -> None:
    assert desk.enrol("pump-7", "--days", "90").status == 0
    certificate = desk.certificate("pump-7")
    key = load_pem_private_key((desk.top / "pump-7" / "key.pem").read_bytes(), None)
    root = x509.load_pem_x509_certificate((desk.top / "pump-7" / "ca.pem").read_bytes())
    certificate.verify_directly_issued_by(root)
    assert (name_of(certificate), certificate.public_key()) == ("pump-7", key.public_key())
    assert timedelta(days=89) < certificate.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=90)


def test_no_key_can_be_read_by_others_whatever_the_umask(desk: Desk) -> None:
    before = os.umask(0)
    try:
        desk.enrol("pump-7")
    finally:
        os.umask(before)
    for path in (desk.top / "pump-7" / "key.pem", desk.top / "ca" / "ca.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((desk.top / "ca").stat().st_mode) == 0o700
    assert stat.S_IMODE((desk.top / "m" / "certs" / "server.key").stat().st_mode) & 0o007 == 0


def test_no_key_is_ever_printed(desk: Desk) -> None:
    ran = [desk.enrol("pump-7"), desk.enrol("pump-7"), desk.certificates(), desk.revoke("pump-7")]
    secrets = [path.read_text().splitlines()[1] for path in desk.top.rglob("*key*")]
    assert len(secrets) == 3
    assert not any(secret in text for secret in secrets for one in ran for text in (one.out, one.err))


@pytest.mark.parametrize(
    "name",
    ["_gateway", "_metrics", "_ha", "_broker", "pump/valve", "+", "#", "%u", "$SYS", "", "a b", "pump\n", "рump"],
)
def test_a_name_that_is_no_devices_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        desk.enrol(name)
    assert not is_name(name)


def test_the_gateways_own_name_is_refused(desk: Desk) -> None:
    assert desk.enrol("gw1").status == 1


@pytest.mark.parametrize("name", ["alice", "ops-1"])
def test_an_operators_name_is_given_only_to_whom_is_meant_to_be_one(desk: Desk, name: str) -> None:
    assert desk.enrol(name).status == 1
    assert desk.enrol("pump-7", "--operator").status == 1
    assert desk.enrol(name, "--operator").status == 0


def test_home_assistants_name_is_given_to_no_device_where_it_has_rules_of_its_own(desk: Desk) -> None:
    assert desk.enrol("homeassistant", "--operator").status == 1
    with (desk.top / "gateway.toml").open("a") as file:
        file.write("[homeassistant]\nenabled = true\n")
    assert desk.enrol("homeassistant").status == 1
    assert desk.enrol("homeassistant", "--operator").status == 0


def test_a_name_has_one_key_at_a_time_unless_it_is_renewed(desk: Desk) -> None:
    desk.enrol("pump-7")
    first = desk.certificate("pump-7")
    assert desk.enrol("pump-7").status == 1
    assert desk.certificate("pump-7") == first
    assert desk.enrol("pump-7", "--renew").status == 0
    assert desk.certificate("pump-7") != first
    assert desk.certificates().out.count("pump-7  ") == 2


def test_every_certificate_of_a_revoked_device_is_on_the_brokers_list_and_no_other(desk: Desk) -> None:
    for options in (("pump-7",), ("pump-7", "--renew"), ("pump-8",)):
        desk.enrol(*options)
    assert "revoked: 2" in desk.revoke("pump-7").err
    issued = AuthorityDir(desk.top / "ca").issued()
    revoked = {one.certificate.serial_number for one in issued if name_of(one.certificate) == "pump-7"}
    assert {one.serial_number for one in desk.installed()} == revoked
    desk.revoke("pump-8")
    assert len(list(desk.installed())) == 3
    assert desk.enrol("pump-7").status == 0


def test_of_those_who_revoke_at_once_each_is_heard(desk: Desk) -> None:
    names = [f"pump-{number}" for number in range(6)]
    for name in names:
        desk.enrol(name)
    with ThreadPoolExecutor(len(names)) as all_at_once:
        list(all_at_once.map(desk.revoke, names))
    assert len(list(desk.installed())) == len(names)


def test_the_list_never_expires_before_the_authority_and_its_number_rises(desk: Desk) -> None:
    root = AuthorityDir(desk.top / "ca").root()
    numbers = []
    for name in ("pump-7", "pump-8"):
        desk.enrol(name)
        desk.revoke(name)
        revoked = desk.installed()
        assert revoked.next_update_utc == root.not_valid_after_utc
        numbers.append(revoked.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
    assert numbers == [2, 3]


def test_a_broker_that_trusts_another_authority_keeps_its_list(desk: Desk, cli: Run, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Desk(cli, tmp_path / "other")
    other.found()
    before = other.installed()
    desk.enrol("pump-7")
    ran = desk.revoke("pump-7", "other/m")
    assert other.installed() == before
    assert "copy" in ran.err


def test_what_never_had_a_certificate_cannot_be_revoked(desk: Desk) -> None:
    assert desk.revoke("pump-9").status == 1


def test_without_an_authority_nothing_is_made(cli: Run, tmp_path: Path) -> None:
    desk = Desk(cli, tmp_path)
    for ran in (desk.enrol("pump-7"), desk.revoke("pump-7"), desk.certificates()):
        assert ran.status == 1
        assert "broker-certificate" in ran.err
    assert not (tmp_path / "ca").exists()


def test_the_authority_stays_when_the_broker_gets_another_certificate(desk: Desk) -> None:
    before = (desk.top / "ca" / "ca.crt").read_bytes()
    assert desk.found().status == 0
    assert (desk.top / "ca" / "ca.crt").read_bytes() == before


def test_an_authority_that_has_lost_its_key_is_not_replaced_by_another(desk: Desk) -> None:
    desk.enrol("pump-7")
    (desk.top / "ca" / "ca.key").unlink()
    files = {path: path.read_bytes() for path in desk.top.rglob("*.crt")}
    for ran in (desk.found(), desk.enrol("pump-8"), desk.revoke("pump-7")):
        assert (ran.status, "ca.key is missing" in ran.err) == (1, True)
    assert {path: path.read_bytes() for path in files} == files


def test_an_authority_that_was_not_finished_is_begun_anew(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "ca" / "issued").mkdir(parents=True)
    (tmp_path / "ca" / "ca.crt").write_text("of the first try")
    desk = Desk(cli, tmp_path)
    assert (desk.found().status, desk.enrol("pump-7").status) == (0, 0)


def test_a_broker_that_trusts_another_authority_gets_no_certificate_of_this_one(desk: Desk, cli: Run) -> None:
    files = {path: path.read_bytes() for path in (desk.top / "m" / "certs").iterdir()}
    ran = cli("broker-certificate", "gw1.lan", "--ca", desk.top / "other", "--mosquitto", desk.top / "m")
    assert (ran.status, "ca.crt" in ran.err) == (1, True)
    assert {path: path.read_bytes() for path in files} == files


def test_what_expires_soon_is_warned_of_until_it_is_renewed(desk: Desk) -> None:
    desk.enrol("pump-7", "--days", "20")
    desk.enrol("pump-8", "--days", "90")
    ran = desk.certificates()
    assert (ran.status, "pump-7: expires" in ran.err, "pump-8" in ran.err) == (1, True, False)
    assert desk.certificates("--days", "10").status == 0
    desk.enrol("pump-7", "--renew")
    assert (desk.certificates().status, desk.certificates().err) == (0, "")


def test_what_has_expired_is_told_and_may_be_enrolled_again(desk: Desk) -> None:
    directory = AuthorityDir(desk.top / "ca")
    authority, long_ago = directory.authority(), datetime.now(UTC) - timedelta(days=9)
    desk.enrol("pump-8")
    directory.record(
        issue_for_device(authority, "pump-7", ec.generate_private_key(ec.SECP256R1()).public_key(), long_ago, 2)
    )
    assert "pump-7: has expired" in desk.certificates().err
    assert [line["status"] for line in desk.certificates("--json").objects] == ["valid", "valid", "expired", "valid"]
    assert desk.enrol("pump-7").status == 0


def test_a_list_that_the_broker_has_not_got_is_warned_of(desk: Desk) -> None:
    desk.enrol("pump-7")
    AuthorityDir(desk.top / "ca").revoke("pump-7", datetime.now(UTC))
    ran = desk.certificates()
    assert (ran.status, "let in what was revoked" in ran.err) == (1, True)
    desk.revoke("pump-7")
    assert desk.certificates().status == 0


def _request(key: Key) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "_gateway")])
    authority = x509.BasicConstraints(ca=True, path_length=None)
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(authority, critical=True)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def test_of_a_request_only_the_key_counts(desk: Desk) -> None:
    key, file = ec.generate_private_key(ec.SECP384R1()), desk.top / "request.pem"
    file.write_bytes(_request(key))
    assert desk.enrol("pump-7", "--request", file).status == 0
    certificate = desk.certificate("pump-7")
    assert (name_of(certificate), certificate.public_key()) == ("pump-7", key.public_key())
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert not (desk.top / "pump-7" / "key.pem").exists()


def _flipped(request: bytes) -> bytes:
    lines = request.splitlines()
    lines[-2] = lines[-2][:-6] + (b"A" if lines[-2][-6:-5] != b"A" else b"B") + lines[-2][-5:]
    return b"\n".join(lines)


@pytest.mark.parametrize(
    "make",
    [
        lambda: _request(rsa.generate_private_key(65_537, 1_024)),
        lambda: _request(ec.generate_private_key(ec.SECP192R1())),
        lambda: _flipped(_request(ec.generate_private_key(ec.SECP256R1()))),
        lambda: b"no request",
    ],
    ids=["short RSA key", "short EC key", "forged signature", "nonsense"],
)
def test_a_request_with_a_weak_key_or_a_wrong_signature_is_refused(desk: Desk, make: Callable[[], bytes]) -> None:
    file = desk.top / "request.pem"
    file.write_bytes(make())
    assert desk.enrol("pump-7", "--request", file).status == 1
    assert len(AuthorityDir(desk.top / "ca").issued("pump-7")) == 0


@pytest.mark.parametrize("damaged", ["ca.key", "ca.crt", "crl.pem"])
def test_a_damaged_authority_signs_nothing_and_says_which_file_it_is(desk: Desk, damaged: str) -> None:
    (desk.top / "ca" / damaged).write_text("nonsense")
    ran = desk.enrol("pump-7")
    assert (ran.status, damaged in ran.err) == (1, True)


def test_a_key_of_another_authority_signs_nothing(desk: Desk, cli: Run, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    Desk(cli, tmp_path / "other").found()
    (desk.top / "ca" / "ca.key").write_bytes((tmp_path / "other" / "ca" / "ca.key").read_bytes())
    assert "is not the key of" in desk.enrol("pump-7").err


@pytest.mark.parametrize("option", ["--out", "--request"])
def test_a_file_that_cannot_be_read_or_written_is_told_and_no_fault(desk: Desk, option: str) -> None:
    ran = desk.enrol("pump-7", option, desk.top / "gateway.toml" / "x")
    assert (ran.status, "gateway.toml" in ran.err) == (1, True)


@pytest.mark.parametrize("host", ["pümp", "gw1.lan:8883", "mqtts://gw1.lan", "", "gw1 lan"])
def test_a_host_that_is_none_is_refused(desk: Desk, cli: Run, host: str) -> None:
    ran = cli("broker-certificate", host, "--ca", desk.top / "ca", "--mosquitto", desk.top / "m")
    assert (ran.status, repr(host) in ran.err) == (1, True)


def test_no_certificate_is_asked_for_beyond_what_a_calendar_holds(desk: Desk) -> None:
    with pytest.raises(SystemExit, match="2"):
        desk.enrol("pump-7", "--days", "9999999999")
    assert desk.enrol("pump-7", "--days", "36500").status == 0
    assert desk.certificate("pump-7").not_valid_after_utc == AuthorityDir(desk.top / "ca").root().not_valid_after_utc


def test_without_the_library_it_is_named(cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.options.find_spec", lambda _name: None)
    ran = Desk(cli, tmp_path).enrol("pump-7")
    assert (ran.status, "edge-gateway[enrol]" in ran.err) == (78, True)
