"""The alert rules, by promtool and amtool, and what every rule must carry."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from e2e.programs import CONFIG, ROOT, installed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

RULES = CONFIG / "prometheus" / "rules"
TESTS = CONFIG / "prometheus" / "tests"
RUNBOOK = ROOT / "docs" / "how-to" / "alerts.md"
OWASP = re.compile(r"LLM(0[1-9]|10):2025|ASI(0[1-9]|10)")


def _alerts() -> list[dict]:
    files = [yaml.safe_load(file.read_text()) for file in sorted(RULES.glob("*.yaml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"] if "alert" in rule]


def _promtool(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([installed("promtool"), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.programs("promtool")
def test_alert_rules_fire_for_the_first_the_repeated_and_the_reset_and_keep_silent():
    done = _promtool("test", "rules", *sorted(TESTS.glob("*.yaml")))
    assert done.returncode == 0, done.stdout + done.stderr
    cases = [case for file in TESTS.glob("*.yaml") for case in yaml.safe_load(file.read_text())["tests"]]
    for alert in _alerts():
        tested = [test for case in cases for test in case["alert_rule_test"] if test["alertname"] == alert["alert"]]
        fired = {
            str(labels)
            for test in tested
            for labels in (each["exp_labels"] for each in test["exp_alerts"])
            for name in ("first", "repeated", "reset")
            if name in labels.values()
        }
        assert len(fired) >= 3, alert["alert"]
        assert not any("silent" in each["exp_labels"].values() for test in tested for each in test["exp_alerts"])


@pytest.mark.programs("promtool")
def test_the_cases_would_notice_a_rule_that_misses_a_first_finding(tmp_path):
    shutil.copytree(CONFIG / "prometheus", tmp_path, dirs_exist_ok=True)
    recording = tmp_path / "rules" / "recording.yaml"
    born = "(cylestio_span_findings_total unless cylestio_span_findings_total offset 5m)"
    assert born in recording.read_text()
    recording.write_text(recording.read_text().replace(born, "(cylestio_span_findings_total < 0)"))
    done = _promtool("test", "rules", tmp_path / "tests" / "security.yaml")
    assert done.returncode != 0
    assert "CylestioDangerousFinding" in done.stdout + done.stderr


def test_every_alert_has_severity_summary_owasp_tag_and_a_runbook():
    headings = {line[3:].strip().lower() for line in RUNBOOK.read_text().splitlines() if line.startswith("## ")}
    for alert in _alerts():
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"]["summary"]
        assert OWASP.search(alert["labels"]["owasp"]), alert["alert"]
        page, anchor = alert["annotations"]["runbook_url"].split("#")
        assert page == f"https://github.com/cylestio/cylestio-monitor/blob/main/{RUNBOOK.relative_to(ROOT).as_posix()}"
        assert anchor == alert["alert"].lower()
        assert anchor in headings


@pytest.mark.programs("amtool")
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"alertname": "CylestioDangerousFinding", "severity": "critical"}, "page"),
        ({"alertname": "CylestioSuspiciousBurst", "severity": "warning"}, "ticket"),
        ({"alertname": "CylestioBlockedCall", "severity": "warning"}, "log"),
        ({"alertname": "CylestioAuditChainBroken", "severity": "critical"}, "page"),
    ],
)
def test_alertmanager_routes(labels, receiver):
    file = CONFIG / "alertmanager" / "alertmanager.yaml"
    amtool = installed("amtool")
    checked = subprocess.run([amtool, "check-config", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    routed = subprocess.run(
        [amtool, "config", "routes", "test", f"--config.file={file}", *(f"{k}={v}" for k, v in labels.items())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert routed.stdout.strip() == receiver
