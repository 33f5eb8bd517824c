"""Certificates for brokers under test."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CA: Final = """
[ca]
default_ca = own
[own]
dir = {directory}
database = {directory}/index.txt
serial = {directory}/serial
new_certs_dir = {directory}
default_md = sha256
policy = anything
x509_extensions = v3
[anything]
commonName = supplied
[v3]
subjectAltName = IP:127.0.0.1
basicConstraints = CA:TRUE
"""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of 127.0.0.1 that nobody has signed but its own key."""

    public: Path
    key: Path


def make_certificate(directory: Path, begin: str = "20200101000000Z", end: str = "20491231235959Z") -> Certificate:
    """Make one that is valid from and until these times."""
    directory.mkdir(parents=True)
    made = Certificate(directory / "cert.pem", directory / "key.pem")
    config, request = directory / "ca.cnf", directory / "request.pem"
    config.write_text(_CA.format(directory=directory))
    (directory / "index.txt").touch()
    (directory / "serial").write_text("01\n")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", made.key)
    _openssl("req", "-new", *new_key, "-subj", f"/CN={directory.name}", "-out", request)
    signed = ("-selfsign", "-config", config, "-keyfile", made.key, "-in", request, "-out", made.public)
    _openssl("ca", "-batch", *signed, "-startdate", begin, "-enddate", end, "-notext")
    return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
