"""The directory of an authority: its key, all that it has issued, and what of that is revoked.

The certificates are the records, a file each, written before anybody gets it; beside them is the list of those revoked.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.adapters.whole_file import replace_file
from gateway.certificates import Authority, name_of, new_authority, revocation_list
from gateway.errors import EnrolmentError

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and whether it is revoked."""

    certificate: x509.Certificate
    is_revoked: bool

    def is_valid(self, now: datetime) -> bool:
        """Whether the broker takes it."""
        return not self.is_revoked and now < self.certificate.not_valid_after_utc


class AuthorityDir:
    """Files of one authority, with the exception of the keys that it makes for others."""

    def __init__(self, path: Path) -> None:
        self.certificate = path / "ca.crt"
        self.revoked = path / "crl.pem"
        self._path = path
        self._key = path / "ca.key"
        self._issued = path / "issued"

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep others from changing it meanwhile.

        Raises:
            EnrolmentError: there is none, or some file cannot be read or written meanwhile.
        """
        try:
            lock = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self._missing() from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise EnrolmentError(str(error)) from error
        finally:
            os.close(lock)

    def found(self, name: str, now: datetime) -> None:
        """Make it, unless there is one already. The key comes last: before it nothing counts.

        Raises:
            EnrolmentError: a file cannot be written, or it has lost its key.
            OSError: the directory cannot be made.
        """
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.claim():
            if self._key.exists():
                return
            if any(self._issued.glob("*.pem")):
                raise self._no_key()
            authority = new_authority(name, now)
            self._issued.mkdir(mode=0o700, exist_ok=True)
            replace_file(self.certificate, (pem(authority.certificate),), PUBLIC)
            self._write_revoked(revocation_list(authority, None, (), now))
            replace_file(self._key, (pem_of_key(authority.key),), PRIVATE)

    def authority(self) -> Authority:
        """Who signs.

        Raises:
            EnrolmentError: there is none, or its key is not the certificate's.
        """
        certificate = self.root()
        try:
            key = load_pem_private_key(self._key.read_bytes(), password=None)
        except FileNotFoundError:
            raise self._no_key() from None
        except ValueError as error:
            raise EnrolmentError(f"{self._key}: {error}") from error
        if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise EnrolmentError(f"{self._key} is not the key of {self.certificate}")
        return Authority(certificate, key)

    def root(self) -> x509.Certificate:
        """The certificate that signs all others.

        Raises:
            EnrolmentError: there is none, or the file is none.
        """
        try:
            return x509.load_pem_x509_certificate(self.certificate.read_bytes())
        except FileNotFoundError:
            raise self._missing() from None
        except ValueError as error:
            raise EnrolmentError(f"{self.certificate}: {error}") from error

    def is_trusted_in(self, file: Path) -> bool:
        """Whether this authority is among those in a broker's file.

        Raises:
            EnrolmentError: there is none.
        """
        try:
            return pem(self.root()) in file.read_bytes()
        except FileNotFoundError:
            return False

    def record(self, certificate: x509.Certificate) -> None:
        """Remember a certificate, so that it can be revoked. Comes before it is handed out."""
        replace_file(self._issued / f"{certificate.serial_number:x}.pem", (pem(certificate),), PUBLIC)

    def issued(self, name: str | None = None) -> list[Issued]:
        """All certificates, or those with this name; by name and age.

        Raises:
            EnrolmentError: a file is damaged.
        """
        revoked = {one.serial_number for one in self._read_revoked()}
        found = []
        for path in self._issued.glob("*.pem"):
            try:
                certificate = x509.load_pem_x509_certificate(path.read_bytes())
            except ValueError as error:
                raise EnrolmentError(f"{path}: {error}") from error
            if name in {None, name_of(certificate)}:
                found.append(Issued(certificate, certificate.serial_number in revoked))
        return sorted(found, key=lambda one: (name_of(one.certificate), one.certificate.not_valid_before_utc))

    def revoke(self, name: str, now: datetime) -> int:
        """Put every certificate with this name on the list; how many are new there.

        Raises:
            EnrolmentError: there is no authority, or a file is damaged.
        """
        serials = [one.certificate.serial_number for one in self.issued(name) if not one.is_revoked]
        if serials:
            self._write_revoked(revocation_list(self.authority(), self._read_revoked(), serials, now))
        return len(serials)

    def _read_revoked(self) -> x509.CertificateRevocationList:
        try:
            return x509.load_pem_x509_crl(self.revoked.read_bytes())
        except FileNotFoundError:
            raise self._missing() from None
        except ValueError as error:
            raise EnrolmentError(f"{self.revoked}: {error}") from error

    def _write_revoked(self, revoked: x509.CertificateRevocationList) -> None:
        replace_file(self.revoked, (revoked.public_bytes(Encoding.PEM),), PUBLIC)

    def _no_key(self) -> EnrolmentError:
        return EnrolmentError(f"{self._key} is missing: without it nothing can be issued or revoked")

    def _missing(self) -> EnrolmentError:
        return EnrolmentError(f"there is no authority in {self._path}; edge-gateway broker-certificate makes one")


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as a file holds it."""
    return certificate.public_bytes(Encoding.PEM)


def pem_of_key(key: EllipticCurvePrivateKey) -> bytes:
    """A private key as a file holds it: whoever can read the file has it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
