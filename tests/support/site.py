"""A broker and a gateway on it."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiomqtt import ProtocolVersion

from tests.support.broker import Broker
from tests.support.gateway_process import GatewayProcess, Sections
from tests.support.technician import Technician, technician


@dataclass(frozen=True, slots=True)
class Site:
    """What a technician finds in place."""

    broker: Broker
    gateway: GatewayProcess

    def technician(self, version: ProtocolVersion = ProtocolVersion.V5) -> AbstractAsyncContextManager[Technician]:
        """A technician connected to this site's broker."""
        return technician(self.broker.port, version)


@contextmanager
def site(directory: Path, settings: Sections | None = None) -> Iterator[Site]:
    """Both, started; at the end neither runs any more."""
    broker = Broker(directory / "broker")
    gateway = GatewayProcess(directory / "gateway", broker.port, settings)
    try:
        broker.start()
        gateway.start()
        yield Site(broker, gateway)
    finally:
        gateway.close()
        broker.stop()
