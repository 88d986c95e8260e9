"""An application as servers load it: monitored, traced, and sent to a collector."""

from __future__ import annotations

import os
from pathlib import Path

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from cylestio_monitor.otel import setup

provider = TracerProvider(resource=Resource.create({"service.name": "served"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=1)))
trace.set_tracer_provider(provider)
setup.start(instrument=False)  # as the launcher does, which hooks the SDKs itself
tracer = trace.get_tracer("served")


def work(name: str) -> bytes:
    """One span, and who made it."""
    with tracer.start_as_current_span(name):
        return str(os.getpid()).encode()


def wsgi(environ, start_response):
    """For gunicorn."""
    start_response("200 OK", [])
    return [work(environ["PATH_INFO"])]


async def asgi(scope, receive, send):
    """For uvicorn."""
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": work(scope["path"])})


if "QUEUE_FOLDER" in os.environ:
    from celery import Celery

    queue = Path(os.environ["QUEUE_FOLDER"])
    tasks = Celery("served", broker="filesystem://", backend="cache+memory://")
    tasks.conf.broker_transport_options = {
        "data_folder_in": str(queue / "in"),
        "data_folder_out": str(queue / "in"),
        "control_folder": str(queue / "control"),
        "store_processed": False,
    }

    @tasks.task(name="work", ignore_result=True)
    def task(name: str) -> None:
        """One span, and a file that says that it was made."""
        (queue / name.strip("/")).write_bytes(work(name))
