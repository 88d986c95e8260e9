"""What operators get under `collector-config/`: container files, alerts and receivers, checked without an engine."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cylestio_monitor import config, semconv
from cylestio_monitor.config.names import OTHER_VARIABLES
from cylestio_monitor.rules import load_packs, shipped_files

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "collector-config"
CONTEXTS = {"collector.Containerfile": CONFIG, "injection.Containerfile": ROOT}
OF_COLLECTOR = {"redaction.masked.count", "cylestio.collector.cut"}
"""Attributes that the collector adds."""
INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "RUN", "USER", "WORKDIR"}
ALERTS = ROOT / "docs" / "how-to" / "alerts.md"
RULES = sorted((CONFIG / "prometheus" / "rules").glob("*.yaml"))
FILES = sorted(file for file in CONFIG.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
VARIABLES = {option.env for option in config.options() if option.from_text} | OTHER_VARIABLES


def instructions(name):
    text = re.sub(r"\\\n", " ", (CONFIG / "deploy" / name).read_text("utf-8"))
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return [tuple(line.split(maxsplit=1)) for line in lines]


def test_every_container_file_is_checked():
    assert {file.name for file in (CONFIG / "deploy").glob("*.Containerfile")} == set(CONTEXTS)


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_container_file_is_pinned_runs_as_nobody_and_copies_what_there_is(name):
    found = instructions(name)
    stages = set()
    for word, rest in found:
        assert word in INSTRUCTIONS, word
        if word == "FROM":
            image, *alias = rest.split(" AS ")
            assert re.fullmatch(r"[\w.-]+\.[\w.-]+/[\w./-]+:(?!latest)[\w.${}-]+", image), f"{image} has no tag"
            stages |= set(alias)
        elif word == "COPY":
            options = [part for part in rest.split() if part.startswith("--")]
            sources = [part for part in rest.split() if not part.startswith("--")][:-1]
            stage = [option.partition("=")[2] for option in options if option.startswith("--from=")]
            assert set(stage) <= stages
            for source in sources if not stage else ():
                assert (CONTEXTS[name] / source).exists(), f"{name}: COPY {source}"
        elif word == "RUN" and "apt-get install" in rest:
            assert "--no-install-recommends" in rest
            assert "rm -rf /var/lib/apt/lists/*" in rest
        elif word in {"ENTRYPOINT", "CMD"}:
            assert all(isinstance(part, str) for part in json.loads(rest)), "signals reach the program, not a shell"
    last = [word for word, _ in found]
    assert "USER" in last[len(last) - last[::-1].index("FROM") :]
    (user,) = {rest for word, rest in found if word == "USER"}
    assert not user.startswith(("root", "0"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(CONFIG).as_posix())
def test_every_variable_in_the_files_of_operators_exists(file):
    used = set(re.findall(r"\bCYLESTIO_[A-Z_]+\b", file.read_text("utf-8")))
    assert used <= VARIABLES, used - VARIABLES


def test_the_operators_injection_monitors_an_unchanged_program(tmp_path):
    instrumentation = yaml.safe_load((CONFIG / "deploy" / "instrumentation.yaml").read_text("utf-8"))
    given = {entry["name"]: entry["value"] for entry in instrumentation["spec"]["python"]["env"]}
    import opentelemetry.instrumentation.auto_instrumentation as injected

    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "CYLESTIO_", "COV_"))}
    place = Path(injected.__file__).parent
    code = "import anthropic; print(hasattr(anthropic._base_client.SyncAPIClient.request, '__wrapped__'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **kept,
            **given,
            "PYTHONPATH": f"{place}{os.pathsep}{place.parents[2]}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "CYLESTIO_DB_PATH": str(tmp_path / "cylestio.db"),
        },
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def alerts():
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_grafana_has_every_alert_of_prometheus():
    spec = importlib.util.spec_from_file_location("grafana_alerts", CONFIG / "grafana" / "alerts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = module.FILE.read_text("utf-8")
    assert written == module.text(), "run `python collector-config/grafana/alerts.py`"
    tree = yaml.safe_load(written)
    made = {rule["title"]: rule for group in tree["groups"] for rule in group["rules"]}
    assert set(made) == {rule["alert"] for rule in alerts()}
    sources = yaml.safe_load((CONFIG / "grafana/provisioning/datasources/cylestio.yaml").read_text("utf-8"))
    known = {source["uid"] for source in sources["datasources"]} | {"__expr__"}
    assert len({rule["uid"] for rule in made.values()}) == len(made)
    for rule in made.values():
        steps = {step["refId"]: step for step in rule["data"]}
        assert {step["datasourceUid"] for step in steps.values()} <= known
        assert steps[rule["condition"]]["model"]["expression"] in steps


def test_slack_is_another_receiver_of_the_same_routes():
    usual, slack = (
        yaml.safe_load((CONFIG / "alertmanager" / f"{name}.yaml").read_text("utf-8"))
        for name in ("alertmanager", "slack")
    )
    assert slack["route"] == usual["route"]
    assert slack["inhibit_rules"] == usual["inhibit_rules"]
    assert [one["name"] for one in slack["receivers"]] == [one["name"] for one in usual["receivers"]]
    assert all(set(one) == {"name", "slack_configs"} for one in slack["receivers"])
    alertnames = {rule["alert"] for rule in alerts()}
    assert set(re.findall(r"Cylestio[A-Z]\w+", json.dumps(usual))) <= alertnames


def test_alerts_and_their_runbooks_name_only_what_there_is():
    """Dotted names are settings, attributes, metrics or rules; variables are settings."""
    attributes = {value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str)}
    settings = {option.key for option in config.options()}
    rule_ids = {rule.id for rule in load_packs(shipped_files())[0]}
    text = ALERTS.read_text("utf-8")
    for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:=[^`]*)?`", text):
        if name.rpartition(".")[2] in {"yaml", "yml"}:
            continue
        assert name in attributes | settings | rule_ids | OF_COLLECTOR, name
    assert set(re.findall(r"\bCYLESTIO_[A-Z_]+\b", text)) <= VARIABLES
    headings = {line[3:].strip() for line in text.splitlines() if line.startswith("## ")}
    for rule in alerts():
        assert rule["alert"] in headings
        assert rule["annotations"]["runbook_url"].endswith(f"/docs/how-to/alerts.md#{rule['alert'].lower()}")
