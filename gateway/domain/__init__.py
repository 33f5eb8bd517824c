"""The domain: pure, no I/O, no clock. ``DECIDERS`` is the one list of aggregates."""

from typing import Any, Final

from gateway.domain.decider import Decider
from gateway.domain.device import DEVICE

DECIDERS: Final[tuple[Decider[Any], ...]] = (DEVICE,)
