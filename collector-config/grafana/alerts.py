"""The alerts of `prometheus/rules` as rules that Grafana evaluates itself, where no Prometheus sends alerts.

usage: python collector-config/grafana/alerts.py     writes provisioning/alerting/cylestio.yaml beside this file

The recording rules stay with Prometheus or Mimir: the alerts read them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
RULES = HERE.parent / "prometheus" / "rules"
FILE = HERE / "provisioning" / "alerting" / "cylestio.yaml"
NOTE = "# Written by grafana/alerts.py from prometheus/rules: change these, then run it.\n"
PROMETHEUS = "cylestio-prometheus"
LOOK_BACK_S = 600


def text() -> str:
    """The provisioning file."""
    groups = [group for file in sorted(RULES.glob("*.yaml")) for group in yaml.safe_load(file.read_text())["groups"]]
    converted = [one for group in groups if (one := folder_group(group))["rules"]]
    tree = {"apiVersion": 1, "groups": converted}
    return NOTE + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=10_000)


def folder_group(group: dict[str, Any]) -> dict[str, Any]:
    """One group of Prometheus as a group of Grafana; it has no rules where the other only records."""
    alerts = [alert(rule) for rule in group["rules"] if "alert" in rule]
    interval = group.get("interval", "1m")
    return {"orgId": 1, "name": group["name"], "folder": "Cylestio", "interval": interval, "rules": alerts}


def alert(rule: dict[str, Any]) -> dict[str, Any]:
    """One alert. An expression of Prometheus fires for each series that it returns, whatever the value, also for 0."""
    name = rule["alert"]
    query = {"refId": "found", "expr": rule["expr"], "instant": True, "range": False}
    threshold = {
        "refId": "fires",
        "type": "threshold",
        "expression": "found",
        "conditions": [{"evaluator": {"type": "gt", "params": [-1]}}],
    }
    return {
        "uid": hashlib.sha256(name.encode()).hexdigest()[:16],
        "title": name,
        "condition": "fires",
        "data": [data(query, PROMETHEUS), data(threshold, "__expr__")],
        "for": rule.get("for", "0s"),
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": rule["labels"],
        "annotations": rule["annotations"],
    }


def data(model: dict[str, Any], source: str) -> dict[str, Any]:
    """One step of an alert: the query, or the threshold over it."""
    return {
        "refId": model["refId"],
        "relativeTimeRange": {"from": LOOK_BACK_S, "to": 0},
        "datasourceUid": source,
        "model": model,
    }


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text(), "utf-8")
