"""The shipped stack after the work of two agents: what dashboards and Jaeger queries are asked about in the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from e2e import collectors
from e2e.backends import Jaeger, Prometheus
from e2e.programs import until
from wire.blocks import Usage
from wire.faults import Status
from wire.server import WireServer

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICES = {"support-agent": "monday", "coding-agent": "tuesday"}
KEY = "AKIA" + "QYLPMN5HHHFPZAM2"


@dataclass
class Filled:
    """Jaeger and Prometheus with the traces and metrics of two services of one session each."""

    jaeger: Jaeger
    prometheus: Prometheus


def fill(collector: Path, jaeger: Path, folder: Path, started: Callable) -> Filled:
    """Runs two agents, the second with blocking on, through agent and gateway collectors."""
    backend = started(Jaeger(jaeger, folder / "jaeger"))
    settings = {"backend": backend.otlp, "decision_wait": "1s", "keep": 100}
    gateway = started(collectors.run(collector, "gateway", folder / "gateway", **settings))
    roads = {"gateways": json.dumps([gateway.grpc]), "findings_endpoint": gateway.findings}
    host = started(collectors.run(collector, "agent", folder / "agent", **roads))
    targets = {"cylestio": [gateway.prometheus], "cylestio-collector": [host.telemetry, gateway.telemetry]}
    prometheus = started(Prometheus(folder / "prometheus", targets))
    for service, session in SERVICES.items():
        _work(service, session, host.http, folder, "block" if session == "tuesday" else "monitor")
    until(lambda: set(SERVICES) <= set(backend.services()), 60, "both services in Jaeger")
    until(lambda: _seen(prometheus) == set(SERVICES), 60, "both services in Prometheus")
    # Prices are evaluated once a minute, at a moment of Prometheus' own choice.
    until(lambda: prometheus.query("cylestio:cost_usd:increase1h"), 90, "the cost of the calls")
    time.sleep(3)  # two evaluations more, for rules that build on rules
    return Filled(backend, prometheus)


def _seen(prometheus: Prometheus) -> set[str]:
    return {
        labels["service_name"]
        for labels, _ in prometheus.query("cylestio:findings:new5m and on (service_name) gen_ai_client_token_usage_sum")
    }


def _work(service: str, session: str, endpoint: str, folder: Path, mode: str) -> None:
    with WireServer() as wire:
        wire.always("A short answer.", usage=Usage(input=1200, output=300))
        wire.answer(f"It is {KEY}, keep it safe.")
        wire.fail(Status(529))
        command = Path(sys.executable).with_name("opentelemetry-instrument")
        done = subprocess.run(
            [command, sys.executable, Path(__file__).with_name("workday.py"), wire.url, session],
            env={
                **os.environ,
                "OTEL_SERVICE_NAME": service,
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "CYLESTIO_DB_PATH": str(folder / service / "store.db"),
                "CYLESTIO_MODE": mode,
            },
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    assert done.returncode == 0, done.stderr
