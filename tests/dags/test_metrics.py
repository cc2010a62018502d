"""What is counted leaves through Airflow's own stats, as they are configured."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

#: what a task's process does before and around the work
TASK = """
from airflow.sdk.configuration import conf
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
from lockstep.orchestration.metrics import AirflowMeter
meter = AirflowMeter()
meter.count("run.applied", revision="0007", direction="upgrade", environment="staging")
meter.count("records.written", 41, revision="0007", database="campus_auth")
meter.count("records.written", 1, revision="0007", database="campus_auth")
meter.time("batch.seconds", 1.5, revision="0007", database="campus_auth")
meter.gauge("outbox.pending", 3, sink="yapper", environment="staging")
"""


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OpenTelemetry collector that keeps what it is sent."""
    heard: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", heard
    server.shutdown()
    server.server_close()
    thread.join()


def in_a_task(**settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TASK],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_collector_receives_names_values_and_tags(collector: tuple[str, list[bytes]]) -> None:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    url, heard = collector
    done = in_a_task(
        AIRFLOW__METRICS__OTEL_ON="True",
        OTEL_EXPORTER_OTLP_ENDPOINT=url,
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
    )
    assert done.returncode == 0, done.stderr

    found: dict[str, tuple[float, dict[str, str]]] = {}
    for body in heard:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for scope in resource.scope_metrics:
                found.update({metric.name: told(metric) for metric in scope.metrics})
    upgrade = {"revision": "0007", "direction": "upgrade", "environment": "staging"}
    auth = {"revision": "0007", "database": "campus_auth"}
    assert found == {
        "airflow.lockstep.run.applied": (1, upgrade),
        "airflow.lockstep.records.written": (42, auth),
        "airflow.lockstep.batch.seconds": (1500, auth),
        "airflow.lockstep.outbox.pending": (3, {"sink": "yapper", "environment": "staging"}),
    }


def told(metric: Any) -> tuple[float, dict[str, str]]:
    """Return what the one point of a metric says, and its tags."""
    kind = metric.WhichOneof("data")
    (point,) = getattr(metric, kind).data_points
    value = point.sum if kind == "exponential_histogram" else point.as_int or point.as_double
    return value, {one.key: one.value.string_value for one in point.attributes}


def test_a_backend_that_cannot_be_used_fails_nothing() -> None:
    done = in_a_task(AIRFLOW__METRICS__STATSD_ON="True", AIRFLOW__METRICS__STATSD_HOST="no.such.host.invalid")
    assert done.returncode == 0, done.stderr
