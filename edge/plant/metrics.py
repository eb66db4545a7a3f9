"""Metrics of the running line for Prometheus: every scrape is answered from one snapshot of the line's state."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from itertools import accumulate
from socketserver import TCPServer
from typing import TYPE_CHECKING

from edge import __version__
from edge.plant.state import BUCKETS_S, LineState

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

log = logging.getLogger("edge.plant")

# a client that sends or takes nothing for so long is left
_CLIENT_S = 2.0
_POLL_S = 0.1
_CLOSE_S = 0.3


class MetricsServer:
    """Answers GET /metrics in one thread, one client after the other, until `close`.

    One, so that no number of clients takes memory or processor time from the inspection. Raises OSError where address
    and port cannot be had, ModuleNotFoundError without prometheus_client.
    """

    def __init__(self, address: str, port: int, state: Callable[[], LineState]) -> None:
        self._server = _server(address)((address, port), _handler(line_registry(state)))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        """A client in its turn is not waited for."""
        # `shutdown` waits without end for a turn that does not end
        threading.Thread(target=self._server.shutdown, name="end of metrics", daemon=True).start()
        self._thread.join(_CLOSE_S)
        self._server.socket.close()


def _server(address: str) -> type[TCPServer]:
    # not http.server's, which asks the name service for the name of the address
    class Server(TCPServer):
        allow_reuse_address = True
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def handle_error(self, request: object, client_address: object) -> None:
            # by default a traceback on standard error, for every client that goes away early
            log.debug("a client of the metrics failed", exc_info=True)

    return Server


def line_registry(state: Callable[[], LineState]) -> CollectorRegistry:
    """What a scrape of this line collects: the line's families, and those of its process."""
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.registry import Collector

    class LineCollector(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from _families(state())

    registry = CollectorRegistry()
    registry.register(LineCollector())
    ProcessCollector(registry=registry)
    return registry


def _families(state: LineState) -> Iterator[Metric]:
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
    )

    line = state.info.name
    stages = HistogramMetricFamily(
        "edge_inspect_stage_seconds", "Time of each stage of an inspected part; total: grab to verdict.",
        labels=("line", "stage"),
    )  # fmt: skip
    for stage in state.stages:
        names = (*map(str, BUCKETS_S), "+Inf")
        stages.add_metric(
            (line, stage.stage), list(zip(names, accumulate(stage.counts), strict=True)), stage.sum_s
        )  # fmt: skip
    yield stages

    verdicts = CounterMetricFamily(
        "edge_inspect_verdicts", "Verdicts by decision and reason.", labels=("line", "decision", "reason")
    )
    for each in state.verdicts:
        verdicts.add_metric((line, str(each.decision), str(each.reason)), each.count)
    yield verdicts

    counts = state.counts
    for name, what, value in (
        ("review", "OK parts in the unsure band.", counts.review),
        ("frames_dropped", "Frames of a live camera that were replaced by newer ones.", counts.dropped),
        ("camera_reconnects", "How often a lost camera was opened again.", counts.reconnects),
        ("records_lost", "Verdicts that the disk did not take in time.", counts.records_lost),
        ("pictures_skipped", "Pictures that were to be kept, and were not.", counts.images_skipped),
        ("plc_missed_triggers", "Triggers of a PLC that brought no picture.", counts.missed_triggers),
    ):
        counter = CounterMetricFamily(f"edge_inspect_{name}", what, labels=("line",))
        counter.add_metric((line,), value)
        yield counter

    alarms = GaugeMetricFamily("edge_inspect_alarms_active", "Alarms that stand.", labels=("line", "kind"))
    kinds = [alarm.kind for alarm in state.alarms]
    for kind in sorted(set(kinds)):
        alarms.add_metric((line, kind), kinds.count(kind))
    yield alarms

    beat = GaugeMetricFamily(
        "edge_inspect_loop_beat_age_seconds", "Since inspection last came round, with a verdict or with nothing to do.",
        labels=("line",),
    )  # fmt: skip
    if state.beat_age_s is not None:
        # also where snapshots are not made any more
        beat.add_metric((line,), state.beat_age_s + time.monotonic() - state.monotonic_s)
    yield beat

    bundle = InfoMetricFamily("edge_inspect_bundle", "What judges.", labels=("line",))
    bundle.add_metric(
        (line,),
        {
            "product": state.info.product,
            "bundle_sha256": state.bundle_sha256,
            "model_sha256": state.model_sha256,
            "backend": state.info.backend,
            "recipe": state.recipe.name,
            "software": __version__,
        },
    )
    yield bundle


def _handler(registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    from prometheus_client import generate_latest
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_S
        server_version, sys_version = "edge-inspect", ""

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            answer = generate_latest(registry)
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """A line in the log for every scrape would bury all else."""

    return Handler
