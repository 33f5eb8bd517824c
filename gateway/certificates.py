"""Certificates of a small authority of one's own: what stands in them, and for how long. Needs ``cryptography``."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.errors import EnrolmentError

AUTHORITY_DAYS: Final = 7_305
"""Twenty years: replacing it means a visit to every device."""

BROKER: Final = "_broker"
"""The broker's name in its certificate: none that a user could have."""

_FEWEST_RSA_BITS: Final = 2_048
_FEWEST_EC_BITS: Final = 256
_SKEW: Final = timedelta(hours=1)
"""By which a device's clock may be slow, at first."""

_LIST: Final = b"-----BEGIN X509 CRL-----"

_HOST: Final = re.compile(r"(?:\*\.)?(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}")

PublicKey = EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey


def new_key() -> EllipticCurvePrivateKey:
    """A key that every TLS library knows, and that is quick on small devices."""
    return new_ec_key(SECP256R1())


def new_authority(name: str, now: datetime) -> Authority:
    """One that may sign devices and brokers, and no authorities."""
    key = new_key()
    subject = _name(name)
    builder = (
        _begun(subject, key.public_key())
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )
    certificate = _for_days(builder, now, AUTHORITY_DAYS).sign(key, SHA256())
    return Authority(certificate, key)


def issue_for_device(authority: Authority, name: str, key: PublicKey, now: datetime, days: int) -> x509.Certificate:
    """A certificate with which a client is known to the broker under this name."""
    builder = _leaf(authority, name, key, ExtendedKeyUsageOID.CLIENT_AUTH)
    return _for_days(builder, now, days, authority).sign(authority.key, SHA256())


def issue_for_broker(
    authority: Authority, hosts: Iterable[str], key: PublicKey, now: datetime, days: int
) -> x509.Certificate:
    """A certificate with which the broker is known under these names and addresses.

    Raises:
        EnrolmentError: one of them is neither.
    """
    builder = _leaf(authority, BROKER, key, ExtendedKeyUsageOID.SERVER_AUTH)
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    return _for_days(builder.add_extension(names, critical=False), now, days, authority).sign(authority.key, SHA256())


def requested_key(pem: bytes) -> PublicKey:
    """The key in a certificate request; what else it asks for does not count.

    Raises:
        EnrolmentError: it is no request, not signed by its own key, or the key is too weak.
    """
    try:
        request = x509.load_pem_x509_csr(pem)
        is_sound = request.is_signature_valid
        key = request.public_key()
    except ValueError as error:
        raise EnrolmentError(f"no certificate request: {error}") from error
    if not is_sound:
        raise EnrolmentError("the certificate request is not signed by its own key")
    match key:
        case RSAPublicKey(key_size=bits) if bits >= _FEWEST_RSA_BITS:
            return key
        case EllipticCurvePublicKey(key_size=bits) if bits >= _FEWEST_EC_BITS:
            return key
        case Ed25519PublicKey():
            return key
    raise EnrolmentError(
        f"the request's key is too weak, or of another kind than RSA ({_FEWEST_RSA_BITS} bits or more), "
        f"elliptic curve ({_FEWEST_EC_BITS} or more) and Ed25519"
    )


def revocation_list(
    authority: Authority, before: x509.CertificateRevocationList | None, serials: Iterable[int], now: datetime
) -> x509.CertificateRevocationList:
    """The list of what is revoked, with these certificates besides.

    It is good for as long as the authority: the broker reads it from a file of its own, so an earlier end would protect
    from nothing, and shut out every device once it is missed.
    """
    number = 1 if before is None else before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - _SKEW)
        .next_update(authority.certificate.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_issuer_key(authority), critical=False)
    )
    known = list(before or ())
    new = set(serials) - {one.serial_number for one in known}
    for one in known:
        builder = builder.add_revoked_certificate(one)
    for serial in sorted(new):
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign(authority.key, SHA256())


def name_of(certificate: x509.Certificate) -> str:
    """What mosquitto takes for the user name."""
    (attribute,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attribute.value)


def end_of(pem: bytes) -> datetime | None:
    """When the first of the certificates, or of the lists of revoked ones, in a PEM file expires; ``None`` for never.

    Raises:
        ValueError: it holds neither.
    """
    before, *lists = pem.split(_LIST)
    ends = [x509.load_pem_x509_crl(_LIST + one).next_update_utc for one in lists]
    if not lists or b"-----BEGIN CERTIFICATE-----" in before:
        ends += [one.not_valid_after_utc for one in x509.load_pem_x509_certificates(pem)]
    return min(filter(None, ends), default=None)


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """Names and addresses of a broker; none for a device."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(one.value) for one in names]


def _leaf(authority: Authority, name: str, key: PublicKey, purpose: x509.ObjectIdentifier) -> x509.CertificateBuilder:
    # of one purpose only: with the key of a device nobody can pass for the broker
    return (
        _begun(_name(name), key)
        .issuer_name(authority.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(_issuer_key(authority), critical=False)
    )


def _begun(subject: x509.Name, key: PublicKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _for_days(
    builder: x509.CertificateBuilder, now: datetime, days: int, authority: Authority | None = None
) -> x509.CertificateBuilder:
    end = now + timedelta(days=days)
    if authority is not None:
        end = min(end, authority.certificate.not_valid_after_utc)
    return builder.not_valid_before(now - _SKEW).not_valid_after(end)


def _issuer_key(authority: Authority) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        pass
    if not _HOST.fullmatch(text):
        raise EnrolmentError(f"{text!r} is neither a host's name nor an address")
    return x509.DNSName(text)
