"""What monitoring on the same machine may ask: the pages ``/metrics``, ``/healthz`` and ``/readyz``."""

from collections import Counter
from http import HTTPStatus

from gateway.adapters.http import HttpEndpoint, Page
from gateway.figures import Figures
from gateway.latency import Latencies


def monitoring(listen: str, counters: "Counter[str]", figures: Figures, latencies: Latencies) -> HttpEndpoint:
    """The endpoint at ``metrics.listen``."""
    # here, because it takes memory, and who does not listen goes without
    from gateway.metrics import CONTENT_TYPE, Metrics

    metrics = Metrics(counters, figures, latencies)

    def ready() -> Page:
        reasons = metrics.unready()
        body = "".join(f"{reason}\n" for reason in reasons or ("ready",))
        return Page(body.encode(), status=HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK)

    pages = {
        "/metrics": lambda: Page(metrics.exposition(), CONTENT_TYPE),
        # that it is answered says it all: neither broker nor store is asked
        "/healthz": lambda: Page(b"alive\n"),
        "/readyz": ready,
    }
    return HttpEndpoint(listen, pages)
