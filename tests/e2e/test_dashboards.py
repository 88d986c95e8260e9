"""The dashboards: as generated, by Grafana's own schema and grammar, and every panel's query with an answer."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
import time
import urllib.parse
from pathlib import Path

import pytest
import yaml

from e2e import programs
from e2e.programs import CONFIG, ROOT, get

pytestmark = pytest.mark.e2e

GRAFANA = CONFIG / "grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}
PANELS = [(name, panel["title"]) for name, dashboard in DASHBOARDS.items() for panel in dashboard["panels"]]
PAGE = ROOT / "docs" / "how-to" / "dashboards.md"


@pytest.fixture(scope="module")
def checker(tmp_path_factory):
    """Runs the checks of Grafana's packages on a folder of dashboards."""
    if shutil.which("npm") is None:
        programs.missing("Grafana's packages need Node and npm, which this machine does not have")
    folder = tmp_path_factory.mktemp("grafana")
    shutil.copytree(Path(__file__).with_name("grafana"), folder, dirs_exist_ok=True)
    subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True, stdin=subprocess.DEVNULL
    )
    pinned = json.loads((folder / "package.json").read_text())["dependencies"]
    programs.used |= {"@grafana/schema": pinned["@grafana/schema"], "lezer-traceql": pinned["@grafana/lezer-traceql"]}

    def check(dashboards: Path) -> subprocess.CompletedProcess:
        command = ["node", "check.mjs", dashboards]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    return check


def test_the_checked_in_json_is_what_the_code_makes(monkeypatch):
    monkeypatch.syspath_prepend(str(GRAFANA))
    code = importlib.import_module("dashboards")
    assert set(code.DASHBOARDS) == set(DASHBOARDS)
    for name in code.DASHBOARDS:
        assert (GRAFANA / "dashboards" / f"{name}.json").read_text() == code.text(name), name


@pytest.mark.programs("@grafana/schema", "lezer-traceql")
def test_dashboards_agree_with_grafanas_schema_and_traceql_with_its_grammar(checker):
    done = checker(GRAFANA / "dashboards")
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) TraceQL", done.stdout)[1]) >= 8


@pytest.mark.programs("@grafana/schema", "lezer-traceql")
def test_the_checks_refuse_a_wrong_field_and_a_wrong_query(checker, tmp_path):
    wrong = DASHBOARDS["investigation-tempo"]
    text = json.dumps(wrong)
    (tmp_path / "field.json").write_text(json.dumps({**wrong, "graphTooltip": "shared", "nonsense": 1}))
    (tmp_path / "query.json").write_text(text.replace("duration > 30s", "duration >> > 30s"))
    done = checker(tmp_path)
    assert done.returncode == 1
    assert "field.json" in done.stdout
    assert "TraceQL, character" in done.stdout


def test_every_panel_asks_a_question_of_a_provisioned_source_and_stands_in_the_documentation():
    provisioned = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "cylestio.yaml").read_text())
    sources = {(source["type"], source["uid"]) for source in provisioned["datasources"]}
    page = PAGE.read_text()
    for dashboard in DASHBOARDS.values():
        assert len(dashboard["panels"]) <= 10
        for panel in dashboard["panels"]:
            assert panel["description"].endswith("?")
            assert (panel["datasource"]["type"], panel["datasource"]["uid"]) in sources
            assert panel["description"] in page, panel["title"]


@pytest.mark.programs("collector", "jaeger", "prometheus")
@pytest.mark.parametrize(("name", "title"), [pair for pair in PANELS if pair[0] != "investigation-tempo"])
def test_panel_has_an_answer(stack, name, title):
    (panel,) = [panel for panel in DASHBOARDS[name]["panels"] if panel["title"] == title]
    (target,) = panel["targets"]
    if panel["datasource"]["type"] == "jaeger":
        tags = dict(pair.split("=", 1) for pair in shlex.split(target["tags"].replace("$session", "tuesday")))
        assert stack.jaeger.find("coding-agent", tags), tags
        return
    expression = target["expr"].replace("$__range", "1h").replace("$service", "support-agent")
    if not target.get("range"):
        assert stack.prometheus.query(expression), expression
        return
    now = time.time()
    query = urllib.parse.urlencode({"query": expression, "start": now - 60, "end": now, "step": 5})
    answer = json.loads(get(f"{stack.prometheus.url}/api/v1/query_range?{query}"))
    points = [float(value) for row in answer["data"]["result"] for _, value in row["values"]]
    assert points, expression
    assert all(point == point for point in points[-1:]), expression  # noqa: PLR0124 -- not NaN


@pytest.mark.programs("collector", "prometheus")
def test_the_numbers_on_the_dashboards_are_the_ones_that_happened(stack):
    """Two sessions: what they did stands in workday.py."""

    def value(name: str, title: str) -> float:
        (panel,) = [panel for panel in DASHBOARDS[name]["panels"] if panel["title"] == title]
        expression = panel["targets"][0]["expr"].replace("$__range", "1h").replace("$service", ".*")
        return stack.prometheus.value(expression)

    assert value("security", "Blocked calls") == 2
    assert value("fleet", "Collectors up") == 3
    assert value("fleet", "Spans lost") == 0
    assert value("fleet", "Services") == 2
    tokens = stack.prometheus.value('cylestio:tokens:increase1h{gen_ai_token_type="output"}')
    assert tokens == 607 + 907
    assert value("cost", "Cost in an hour") == pytest.approx(15e-6 * tokens + 3e-6 * (2411 + 3611))
