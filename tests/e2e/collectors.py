"""The shipped configurations, run by the real collector on free loopback ports. Only documented variables are set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from e2e.programs import CONFIG, Process, free_ports, get

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COMMON = ("CYLESTIO_OTLP_GRPC", "CYLESTIO_HEALTH", "CYLESTIO_TELEMETRY_PORT")
OF_ROLE = {
    "local": ("CYLESTIO_OTLP_HTTP", "CYLESTIO_PROMETHEUS"),
    "agent": ("CYLESTIO_OTLP_HTTP",),
    "gateway": ("CYLESTIO_OTLP_FINDINGS", "CYLESTIO_PROMETHEUS"),
}


@dataclass
class Collector:
    """One running collector and its ports."""

    process: Process
    ports: dict[str, int]

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.ports['CYLESTIO_OTLP_GRPC']}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.ports['CYLESTIO_OTLP_HTTP']}"

    @property
    def findings(self) -> str:
        return f"127.0.0.1:{self.ports['CYLESTIO_OTLP_FINDINGS']}"

    @property
    def prometheus(self) -> str:
        return f"127.0.0.1:{self.ports['CYLESTIO_PROMETHEUS']}"

    @property
    def telemetry(self) -> str:
        return f"127.0.0.1:{self.ports['CYLESTIO_TELEMETRY_PORT']}"

    def metrics(self) -> str:
        """What its Prometheus exporter serves, in the text format."""
        return get(f"http://{self.prometheus}/metrics")

    def own_metrics(self) -> str:
        """Its metrics of itself."""
        return get(f"http://{self.telemetry}/metrics")


def run(program: Path, role: str, folder: Path, *, overlays: Sequence[str] = (), **env: object) -> Collector:
    """Starts the configuration of one role.

    Args:
        program: The built collector.
        role: `local`, `agent` or `gateway`.
        folder: For its queue and log.
        overlays: Further configuration files below collector-config, merged in order.
        env: Documented variables without their prefix, in any case.
    """
    names = COMMON + OF_ROLE[role]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    variables = {
        name: str(port) if name == "CYLESTIO_TELEMETRY_PORT" else f"127.0.0.1:{port}" for name, port in ports.items()
    }
    variables["CYLESTIO_STORAGE"] = str(folder / "queue")
    variables["CYLESTIO_METRICS_INTERVAL"] = "500ms"
    variables |= {f"CYLESTIO_{name.upper()}": str(value) for name, value in env.items()}
    command: list[str | Path] = [program]
    for file in (f"{role}.yaml", *overlays):
        command += ["--config", CONFIG / file]
    process = Process(
        command,
        folder=folder,
        ready=f"http://{variables['CYLESTIO_HEALTH']}/",
        env=variables,
        cwd=CONFIG,
    )
    return Collector(process, ports)
