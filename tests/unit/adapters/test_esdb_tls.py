"""A store behind TLS that knows its users."""

import subprocess
from pathlib import Path

import pytest

from gateway.adapters.esdb_options import EsdbOptions
from gateway.adapters.eventstoredb import open_eventstoredb
from gateway.errors import SettingsError, StoreUnavailable
from gateway.messages import NO_STREAM
from tests.support.eventstoredb_process import stand_in
from tests.support.new_events import new_events

PASSWORD = "p@ss/w:rd%41 ü"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Of 127.0.0.1, and its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    command += ["-subj", "/CN=store", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize(("password", "works"), [(PASSWORD, True), ("wrong", False)])
async def test_the_user_and_the_ca_file_of_the_settings_count(
    certificate: tuple[Path, Path],
    password: str,
    works: bool,  # noqa: FBT001 - a case of the test
) -> None:
    public, key = certificate
    async with stand_in(certificate=public, key=key, user="gateway", password=PASSWORD) as server:
        options = EsdbOptions(
            f"esdb://127.0.0.1:{server.port}", ("device",), username="gateway", password=password, ca_file=public
        )
        async with open_eventstoredb(options) as (log, _):
            if works:
                await log.append("device-a", NO_STREAM, new_events(1))
                assert len(await log.read_all(after=0)) == 1
            else:
                with pytest.raises(StoreUnavailable) as error:
                    await log.append("device-a", NO_STREAM, new_events(1))
                assert password not in str(error.value)


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(certificate: tuple[Path, Path]) -> None:
    public, key = certificate
    async with stand_in(certificate=public, key=key) as server:
        options = EsdbOptions(f"esdb://127.0.0.1:{server.port}", ("device",), username="gateway", password="secret")
        async with open_eventstoredb(options) as (log, _):
            with pytest.raises(StoreUnavailable):
                await log.head()


async def test_a_ca_file_that_is_missing_is_told_at_the_start(tmp_path: Path) -> None:
    options = EsdbOptions("esdb://127.0.0.1:1?Tls=false", ("device",), ca_file=tmp_path / "none.pem")
    with pytest.raises(SettingsError, match=r"none\.pem"):
        async with open_eventstoredb(options):
            pass
