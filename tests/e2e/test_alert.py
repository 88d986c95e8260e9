"""One alert, end to end: a real SDK call, its span, two collectors, Prometheus, Alertmanager, a webhook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from e2e import collectors
from e2e.backends import Alertmanager, Jaeger, Prometheus
from e2e.programs import until
from wire.server import WireServer

pytestmark = pytest.mark.e2e

KEY = "AKIA" + "QYLPMN5HHHFPZAM2"


@pytest.fixture
def webhook():
    """A URL, and the notifications that came, each with the path it came to."""
    came: list[tuple[str, dict]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            came.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            """Says nothing: the tests read what came."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", came
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.mark.programs("collector", "jaeger", "prometheus", "alertmanager")
def test_a_secret_in_a_prompt_pages_somebody(collector, jaeger, tmp_path, webhook, started):
    url, came = webhook
    backend = started(Jaeger(jaeger, tmp_path / "jaeger"))
    gateway = started(
        collectors.run(collector, "gateway", tmp_path / "gateway", backend=backend.otlp, decision_wait="1s")
    )
    roads = {"gateways": json.dumps([gateway.grpc]), "findings_endpoint": gateway.findings}
    host = started(collectors.run(collector, "agent", tmp_path / "agent", **roads))
    manager = started(Alertmanager(tmp_path / "alertmanager", url))
    targets = {"cylestio": [gateway.prometheus], "cylestio-collector": [host.telemetry, gateway.telemetry]}
    prometheus = started(Prometheus(tmp_path / "prometheus", targets, manager.address))
    until(lambda: prometheus.value("up") == 3, 30, "every target to be scraped")
    assert prometheus.alerts() == []
    with WireServer() as wire:
        wire.always("I will not repeat it.")
        done = subprocess.run(
            [
                Path(sys.executable).with_name("opentelemetry-instrument"),
                sys.executable,
                Path(__file__).with_name("one_call.py"),
                wire.url,
                f"My key is {KEY}, is it safe?",
            ],
            env={
                **os.environ,
                "OTEL_SERVICE_NAME": "support-agent",
                "OTEL_EXPORTER_OTLP_ENDPOINT": host.http,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "CYLESTIO_DB_PATH": str(tmp_path / "store" / "events.db"),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.stdout.strip() == "I will not repeat it.", done.stderr

    def page():
        for path, message in came:
            for alert in message["alerts"]:
                if path == "/page" and alert["labels"]["rule"] == "secret.aws-access-key-id":
                    return alert
        return None

    alert = until(page, 60, "the page")
    assert alert["status"] == "firing"
    assert alert["labels"] | {"job": ""} == {
        "alertname": "CylestioDangerousFinding",
        "service_name": "support-agent",
        "category": "secret",
        "rule": "secret.aws-access-key-id",
        "severity": "critical",
        "owasp": "LLM02:2025",
        "job": "",
    }
    assert alert["annotations"]["runbook_url"].endswith("/docs/how-to/alerts.md#cylestiodangerousfinding")
    (trace,) = backend.find("support-agent", {"cylestio.security.category": "secret"})
    assert KEY not in json.dumps([trace, came]) + host.process.log() + gateway.process.log()
