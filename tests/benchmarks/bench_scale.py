"""What the shipped collectors carry on this machine: spans a second and a core, bytes on the wire and at rest.

usage: python tests/benchmarks/bench_scale.py [SPANS]     (default: 20000)

An agent and a gateway run as shipped, and deliver to a receiver that only counts. Loads stay on the loopback address
and are bounded in count. Figures are of one machine: trust ratios.
"""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import grpc
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cylestio_monitor import config
from cylestio_monitor.store import Store
from e2e import collectors, programs
from e2e.otlp import Receiver
from e2e.spans import Sender, finding

BATCH = 100
WAIT_S = 60


def made(count: int, flagged: bool) -> list:
    """Ended spans as this package makes them."""
    kept = InMemorySpanExporter()
    sender = Sender("bench", "127.0.0.1:1", exporter=kept)  # never closed: that would send its metrics
    for _ in range(count):
        sender.call(*([finding()] if flagged else []))
    return list(kept.get_finished_spans())


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def send(address: str, requests: list, streams: int) -> None:
    """Sends requests over a few connections, each waiting for its answer."""
    with grpc.insecure_channel(address) as channel:
        stub = trace_service_pb2_grpc.TraceServiceStub(channel)
        with ThreadPoolExecutor(streams) as pool:
            list(pool.map(lambda request: stub.Export(request, timeout=60), requests))


def road(name: str, spans: list, batch: int, folder: Path) -> None:
    """One load through agent and gateway; prints its line."""
    requests = [encode_spans(spans[start : start + batch]) for start in range(0, len(spans), batch)]
    collector = programs.built("collector")
    meter = Receiver()
    gateway = collectors.run(collector, "gateway", folder / "g", backend=meter.address, decision_wait="2s", keep=100)
    roads = {"gateways": f"[{gateway.grpc}]", "findings_endpoint": gateway.findings}
    agent = collectors.run(collector, "agent", folder / "a", **roads)
    try:
        before = [cpu_s(each.process.process.pid) for each in (agent, gateway)]
        begin = time.monotonic()
        send(agent.grpc, requests, 4)
        answered = time.monotonic() - begin
        while len(meter.delivered) < len(spans) and time.monotonic() - begin < WAIT_S:
            time.sleep(0.1)
        arrived = time.monotonic() - begin
        used = [cpu_s(each.process.process.pid) - old for each, old in zip((agent, gateway), before, strict=True)]
    finally:
        agent.process.stop()
        gateway.process.stop()
        meter.close()
    per_core = [f"{len(spans) / max(seconds, 0.01):9,.0f}" for seconds in used]
    print(
        f"{name:34} {len(meter.delivered):7,} of {len(spans):7,}  {len(spans) / answered:9,.0f}/s answered"
        f"  {arrived:6.1f} s to the backend  a core: agent {per_core[0]}/s, gateway {per_core[1]}/s",
        flush=True,
    )


def sizes(plain: list, flagged: list, folder: Path) -> None:
    """Bytes of a span on the wire and at rest; prints them."""
    for name, spans in (("without a finding", plain), ("with a finding", flagged)):
        wire = encode_spans(spans[:BATCH]).SerializeToString()
        store = Store.open(folder / name / "store.db", config.Settings().store)
        for span in spans[:2000]:
            store.add_span(span)
        store.flush(60)
        store.close()
        rest = sum(file.stat().st_size for file in (folder / name).iterdir() if file.name.startswith("store.db"))
        print(
            f"bytes of a span {name:18} OTLP {len(wire) / BATCH:6.0f}   gzip {len(gzip.compress(wire)) / BATCH:5.0f}"
            f"   in the local store {rest / min(len(spans), 2000):6.0f}"
        )


def queue(flagged: list, folder: Path) -> None:
    """Bytes of a waiting request in the agent's queue while no gateway answers; prints them."""
    (port,) = programs.free_ports(1)
    nowhere = {"gateways": f"[127.0.0.1:{port}]", "findings_endpoint": f"127.0.0.1:{port}"}
    agent = collectors.run(programs.built("collector"), "agent", folder / "q", **nowhere)
    try:
        begin = time.monotonic()
        send(agent.grpc, [encode_spans([span]) for span in flagged[:1000]], 1)
        alone = (time.monotonic() - begin) / 1000
    finally:
        agent.process.kill()
    rest = sum(file.stat().st_size for file in (folder / "q" / "queue").rglob("*") if file.is_file())
    print(f"a span with a finding, alone, on disk before the answer: {alone * 1000:.1f} ms, {rest / 1000:.0f} bytes")


def main() -> None:
    """Prints the figures of docs/explanation/scale.md."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    plain, flagged = made(count, flagged=False), made(count // 5, flagged=True)
    with tempfile.TemporaryDirectory() as folder:
        sizes(plain, flagged, Path(folder))
        queue(flagged, Path(folder))
        road(f"no findings, {BATCH} a request", plain, BATCH, Path(folder) / "1")
        road(f"findings only, {BATCH} a request", flagged, BATCH, Path(folder) / "2")
        road("findings only, one a request", flagged[:2000], 1, Path(folder) / "3")


if __name__ == "__main__":
    main()
