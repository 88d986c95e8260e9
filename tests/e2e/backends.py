"""Jaeger, Prometheus and Alertmanager on loopback, and what to ask them."""

from __future__ import annotations

import json
import shutil
import urllib.parse
from typing import TYPE_CHECKING, Any

import yaml

from e2e.programs import CONFIG, Process, free_ports, get, installed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Jaeger:
    """Jaeger with the shipped configuration: its traces are in memory."""

    def __init__(self, program: Path, folder: Path) -> None:
        names = ("CYLESTIO_BACKEND", "CYLESTIO_JAEGER_QUERY", "CYLESTIO_JAEGER_QUERY_GRPC", "CYLESTIO_JAEGER_HEALTH")
        places = {name: f"127.0.0.1:{port}" for name, port in zip(names, free_ports(4), strict=True)}
        folder.mkdir(parents=True, exist_ok=True)
        self.otlp = places["CYLESTIO_BACKEND"]
        self.url = f"http://{places['CYLESTIO_JAEGER_QUERY']}"
        self.process = Process(
            [program, "--config", CONFIG / "jaeger" / "jaeger.yaml"],
            folder=folder,
            ready=f"http://{places['CYLESTIO_JAEGER_HEALTH']}/status",
            env=places,
        )

    def services(self) -> list[str]:
        return self._data("/api/services") or []

    def find(self, service: str, tags: Mapping[str, str] | None = None, **more: str) -> list[dict[str, Any]]:
        """The traces that `GET /api/traces` gives for a service and tags."""
        query = {"service": service, "limit": "2000", "lookback": "1h", **more}
        if tags:
            query["tags"] = json.dumps(tags)
        return self._data("/api/traces?" + urllib.parse.urlencode(query)) or []

    def _data(self, path: str) -> Any:
        return json.loads(get(self.url + path, 30))["data"]


class Prometheus:
    """Prometheus with the shipped rules, its intervals shortened to a second.

    Args:
        folder: For its configuration, data and log.
        targets: Job to `host:port` of what it scrapes; the jobs are those of the shipped configuration.
        alertmanager: `host:port`, where alerts go.
    """

    def __init__(self, folder: Path, targets: Mapping[str, Sequence[str]], alertmanager: str | None = None) -> None:
        shutil.copytree(CONFIG / "prometheus", folder, dirs_exist_ok=True)
        shipped = yaml.safe_load((folder / "prometheus.yaml").read_text())
        shipped["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        for job in shipped["scrape_configs"]:
            job["static_configs"] = [{"targets": list(targets.get(job["job_name"], []))}]
        shipped["alerting"] = {
            "alertmanagers": [{"static_configs": [{"targets": [alertmanager] if alertmanager else []}]}]
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(shipped))
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.process = Process(
            [
                installed("prometheus"),
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            folder=folder,
            ready=f"{self.url}/-/ready",
        )

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """An instant query: labels and value of each series."""
        answer = json.loads(get(f"{self.url}/api/v1/query?" + urllib.parse.urlencode({"query": expression})))
        if answer["data"]["resultType"] == "scalar":
            return [({}, float(answer["data"]["result"][1]))]
        return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]]

    def value(self, expression: str) -> float:
        """The sum over the series of an instant query, 0 where there is none."""
        return sum(value for _, value in self.query(expression))

    def alerts(self) -> list[dict[str, Any]]:
        """Pending and firing alerts."""
        return json.loads(get(f"{self.url}/api/v1/alerts"))["data"]["alerts"]


class Alertmanager:
    """Alertmanager with the shipped routes, its waits shortened and its receivers sent to a loopback webhook."""

    def __init__(self, folder: Path, webhook: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        shipped = yaml.safe_load((CONFIG / "alertmanager" / "alertmanager.yaml").read_text())
        for route in _routes(shipped["route"]):
            for key in ("group_wait", "group_interval"):
                if key in route:
                    route[key] = "1s"
        for receiver in shipped["receivers"]:
            for hook in receiver.get("webhook_configs", []):
                hook["url"] = f"{webhook}/{receiver['name']}"
        (folder / "alertmanager.yaml").write_text(yaml.safe_dump(shipped))
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        self.process = Process(
            [
                installed("alertmanager"),
                f"--config.file={folder / 'alertmanager.yaml'}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address={self.address}",
                "--cluster.listen-address=",
            ],
            folder=folder,
            ready=f"http://{self.address}/-/ready",
        )


def _routes(route: dict[str, Any]) -> list[dict[str, Any]]:
    return [route, *(below for child in route.get("routes", []) for below in _routes(child))]
