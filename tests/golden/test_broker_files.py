"""What lies in ``mosquitto`` is what the command writes for a gateway with default settings."""

import pytest

from gateway.cli import main
from tests.support.gateway_process import REPOSITORY


@pytest.mark.parametrize(("name", "option"), [("production.acl", "--acl"), ("production.conf", "--drop-in")])
def test_the_committed_file_is_current(name: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["broker-config", option, "--defaults"]) == 0
    committed = (REPOSITORY / "mosquitto" / name).read_text()
    renew = f"renew it: edge-gateway broker-config {option} --defaults > mosquitto/{name}"
    assert committed == capsys.readouterr().out, renew
