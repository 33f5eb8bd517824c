from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.adapters.authority_dir import pem
from gateway.broker_drop_in import BrokerPlaces
from gateway.certificates import end_of, issue_for_broker, new_authority, new_key
from gateway.doctor import broker_files
from gateway.doctor.findings import Finding

NOW = datetime.now(UTC)
AUTHORITY = new_authority("an authority", NOW)


@pytest.fixture
def places(tmp_path: Path) -> BrokerPlaces:
    """Of a broker with all that it needs."""
    places = BrokerPlaces(tmp_path / "mosquitto")
    places.certificates.mkdir(parents=True)
    places.authority.write_bytes(pem(AUTHORITY.certificate))
    places.certificate.write_bytes(certificate(400))
    places.revoked.write_bytes(revoked(400))
    places.key.touch(mode=0o640)
    return places


def certificate(days: int) -> bytes:
    """One that was made a year ago, and ends so many days from now."""
    begun = NOW - timedelta(days=365)
    return pem(issue_for_broker(AUTHORITY, ["gw1.lan"], new_key().public_key(), begun, days + 365))


def revoked(days: int) -> bytes:
    """A list that has to be renewed in so many days."""
    begun = NOW - timedelta(days=365)
    builder = x509.CertificateRevocationListBuilder().issuer_name(AUTHORITY.certificate.subject).last_update(begun)
    signed = builder.next_update(NOW + timedelta(days=days)).sign(AUTHORITY.key, SHA256())
    return signed.public_bytes(Encoding.PEM)


def look(places: BrokerPlaces, authority: Path | None = None) -> dict[str, Finding]:
    found: Iterable[Finding] = broker_files.check_broker_files(places, authority or places.directory / "no-authority")
    return {next(word for word in finding.detail.split() if "/" in word).rstrip(":"): finding for finding in found}


def test_files_that_hold_for_long_are_fine(places: BrokerPlaces) -> None:
    found = look(places)
    assert {finding.level for finding in found.values()} == {"ok"}
    assert found.keys() == {str(file) for file in (places.authority, places.certificate, places.revoked, places.key)}


@pytest.mark.parametrize(("days", "level"), [(-1, "failed"), (20, "warning"), (22, "ok")])
def test_what_ends_is_told_with_what_to_do(places: BrokerPlaces, days: int, level: str) -> None:
    places.certificate.write_bytes(certificate(days))
    places.revoked.write_bytes(revoked(days))
    found = look(places)
    for file in (places.certificate, places.revoked):
        assert found[str(file)].level == level
        assert ("reload mosquitto" in found[str(file)].remedy) == (level != "ok")


def test_of_several_in_one_file_the_first_to_end_counts() -> None:
    early = end_of(certificate(10))
    assert early is not None
    assert end_of(certificate(400) + certificate(10)) == early
    assert end_of(revoked(400) + revoked(10)) == end_of(revoked(10))


def test_a_file_that_is_damaged_or_open_to_all_is_told(places: BrokerPlaces) -> None:
    places.certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    places.revoked.write_bytes(b"")
    places.key.chmod(0o644)
    found = look(places)
    assert {found[str(file)].level for file in (places.certificate, places.revoked, places.key)} == {"failed"}


def test_what_is_not_there_or_cannot_be_read_is_skipped_and_says_so(
    places: BrokerPlaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.revoked.unlink()
    assert look(places)[str(places.revoked)].level == "skipped"

    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refuse)
        assert look(places)[str(places.certificate)].level == "skipped"
    elsewhere = BrokerPlaces(places.directory / "elsewhere")
    [nothing] = broker_files.check_broker_files(elsewhere, elsewhere.directory)
    assert nothing.level == "skipped"


def test_the_authority_is_looked_at_where_it_lies(places: BrokerPlaces, tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "ca.crt").write_bytes(pem(AUTHORITY.certificate))
    (tmp_path / "ca" / "crl.pem").write_bytes(revoked(1))
    found = look(places, tmp_path / "ca")
    assert [found[str(tmp_path / "ca" / name)].level for name in ("ca.crt", "crl.pem")] == ["ok", "warning"]
