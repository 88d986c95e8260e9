"""The evidence bundle: what is in it, that any change of it is found, and that a SIEM can read its findings."""

from __future__ import annotations

import html.parser
import json
import shutil
import stat
from hashlib import sha256

import pytest
from py_ocsf_models.events.findings.detection_finding import DetectionFinding

from cylestio_monitor.incidents import bundle, taxonomies
from cylestio_monitor.rules import load_packs, shipped_files
from cylestio_monitor.store import StoreError, triage
from cylestio_monitor.store.audit import trail


@pytest.fixture(scope="module")
def exported(attack, tmp_path_factory):
    made = triage.open_incident(
        attack.path, attack.settings, "<b>stolen</b> | key", by="ann", severity_number=3, items=(("session", "s1"),)
    )
    triage.add_note(attack.path, attack.settings, "incident", made, by="ann", text="**bold** <img src=x>")
    folder = tmp_path_factory.mktemp("bundle") / "evidence"
    return folder, bundle.export(attack.path, attack.settings, made, folder, by="ann")


@pytest.fixture
def copy(exported, tmp_path):
    shutil.copytree(exported[0], tmp_path / "copy")
    return tmp_path / "copy", exported[1].public_key


def records(folder, table=None):
    found = [json.loads(line) for line in (folder / "records.jsonl").read_text("utf-8").splitlines()]
    return found if table is None else [one for one in found if one["table"] == table]


def test_a_bundle_is_verified_without_the_store(exported):
    folder, made = exported
    report = bundle.verify(folder, made.public_key)
    assert (report.trail.sound, report.problems, report.files) == (True, [], len(made.files) - 1)
    assert report.records == len([one for one in records(folder) if one["table"] in {"span", "finding", "event"}])
    assert report.trail.withheld > 0
    assert report.trail.checkpoints > 0


def test_its_files_are_private(exported):
    folder, _ = exported
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_it_holds_the_records_of_the_incident_and_nothing_of_others(exported, attack):
    folder, _ = exported
    assert {one["span_id"] for one in records(folder, "span")} == set(attack.spans.values())
    assert {one["rule_id"] for one in records(folder, "finding")} == {"injection.order", "secret.aws"}
    assert {one["table"] for one in records(folder)} >= {"incident", "note", "event", "decision", "value_origin"}
    for path in folder.iterdir():
        text = path.read_text("utf-8")
        assert "an unrelated private text" not in text
        assert attack.unrelated not in text, path.name


def test_recorded_content_is_in_the_records(exported, attack):
    (read,) = [one for one in records(exported[0], "span") if one["span_id"] == attack.spans["read"]]
    assert "<script>" in read["content"]["gen_ai.tool.call.result"]


FILES = ["records.jsonl", "audit.jsonl", "report.html", "report.md", "findings.ocsf.jsonl", "VERIFY.md"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["changed", "missing", "cut", "link"])
def test_a_changed_file_is_found(copy, name, how, tmp_path):
    folder, key = copy
    path = folder / name
    data = path.read_bytes()
    path.unlink()
    if how == "changed":
        path.write_bytes(data[:-2] + b"X" + data[-1:])
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "link":
        (tmp_path / "elsewhere").write_bytes(data)
        path.symlink_to(tmp_path / "elsewhere")
    try:
        report = bundle.verify(folder, key)
    except StoreError:
        assert name in {"records.jsonl", "audit.jsonl"}  # not even its form is right
    else:
        assert any(name in problem for problem in report.problems)


def resign(folder, name):
    """Writes the sum of a changed file into the manifest, as somebody without the key can."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["files"][name] = sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def rewrite(folder, name, change):
    lines = [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]
    change(lines)
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    resign(folder, name)


def first(lines, table):
    return next(line for line in lines if line.get("table") == table)


CHANGES = {
    "severity of a finding": lambda lines: first(lines, "finding").update(severity="low"),
    "agent of a span": lambda lines: first(lines, "span").update(agent_id="another"),
    "content of a span": lambda lines: first(lines, "span").update(content={"gen_ai.tool.call.result": "harmless"}),
    "resource of a span": lambda lines: first(lines, "span").update(source="{}"),
    "an additional value": lambda lines: first(lines, "event").update(more=1),
    "a record that is gone": lambda lines: lines.remove(first(lines, "finding")),
    "a record that is new": lambda lines: lines.append({**first(lines, "finding"), "id": 999}),
    "a record that is there twice": lambda lines: lines.append(first(lines, "span")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_record_is_found_also_under_a_manifest_that_fits(copy, change):
    folder, key = copy
    rewrite(folder, "records.jsonl", change)
    problems = bundle.verify(folder, key).problems
    assert "the manifest was not signed with this key" in problems
    assert any(problem.startswith("record ") for problem in problems)


def withheld(lines):
    entry = next(line for line in lines if "values" in line)
    del entry["values"]
    entry["withheld"] = True


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (withheld, "records"),
        (lambda lines: next(x for x in lines if "values" in x).pop("values"), "trail"),
        (lambda lines: lines.pop(2), "trail"),
        (lambda lines: next(x for x in lines if "withheld" in x).update(leaf="00" * 32), "trail"),
        (lambda lines: next(x for x in lines if "checkpoint" in x)["checkpoint"].update(time="x"), "trail"),
    ],
)
def test_a_changed_trail_is_found(copy, change, where):
    folder, key = copy
    rewrite(folder, "audit.jsonl", change)
    report = bundle.verify(folder, key)
    assert any(one.startswith("record ") for one in report.problems) if where == "records" else not report.trail.sound


@pytest.mark.parametrize(
    "line", [b"[]", b"{}", b'{"seq":1}', b'{"seq":1,"kind":"span","ref":1,"leaf":"zz"}', b"\xff", b'{"checkpoint":{}}',
             b'{"seq":1,"kind":"span","ref":1,"leaf":"00","values":[{"base64":"?"}]}',
             b'{"seq":1,"kind":"span","ref":1,"leaf":"00","values":[{"x":1}]}']
)  # fmt: skip
def test_a_line_that_is_no_evidence_is_one_clear_error(copy, line):
    folder, key = copy
    path = folder / "audit.jsonl"
    path.write_bytes(path.read_bytes().splitlines()[0] + b"\n" + line + b"\n")
    with pytest.raises(StoreError, match="line 2 is no evidence"):
        bundle.verify(folder, key)


@pytest.mark.parametrize("key", ["00" * 32, "", "zz", "0" * 63])
def test_another_key_verifies_nothing(exported, key):
    report = bundle.verify(exported[0], key)
    assert "the manifest was not signed with this key" in report.problems
    assert not report.trail.sound


def test_an_additional_file_is_found(copy):
    folder, key = copy
    (folder / "run-me.sh").write_text("x")
    assert bundle.verify(folder, key).problems == ["an additional file is in the folder: run-me.sh"]


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"format": 1}'])
def test_a_folder_that_is_no_bundle_is_one_clear_error(copy, manifest):
    folder, key = copy
    (folder / "manifest.json").write_bytes(manifest)
    with pytest.raises(StoreError, match="no evidence bundle"):
        bundle.verify(folder, key)
    (folder / "manifest.json").unlink()
    with pytest.raises(StoreError):
        bundle.verify(folder, key)


def test_a_folder_that_holds_something_is_left_alone(attack, exported, tmp_path):
    (tmp_path / "mine").write_text("x")
    incident = records(exported[0], "incident")[0]["id"]
    with pytest.raises(StoreError, match="not empty"):
        bundle.export(attack.path, attack.settings, incident, tmp_path, by="ann")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(StoreError):
        bundle.export(attack.path, attack.settings, incident, tmp_path / "mine", by="ann")
    with pytest.raises(StoreError, match="no incident"):
        bundle.export(attack.path, attack.settings, "f" * 12, tmp_path / "new", by="ann")
    assert not (tmp_path / "new").exists()


def test_an_export_is_in_the_audit_trail_and_leaves_it_sound(attack, exported):
    from cylestio_monitor.store.read import queries

    with queries.connect(attack.path) as connection:
        rows = connection.execute("SELECT data FROM event WHERE event_type = 'incident_exported' AND seq IS NOT NULL")
        assert exported[1].manifest in [json.loads(row[0])["manifest"] for row in rows]
    assert trail.verify(attack.path).sound


def test_encrypted_content_stays_encrypted(tmp_path, monkeypatch):
    from cylestio_monitor import config
    from incidents.conftest import call
    from store.filling import Bench

    monkeypatch.setenv("CYLESTIO_STORE_KEY", "ab" * 32)
    bench = Bench(tmp_path / "data" / "s.db")
    call(bench, "chat claude-wire", "chat", "s1", content="a text that nobody else reads")
    bench.flush()
    bench.close()
    settings = config.StoreSettings()
    made = triage.open_incident(bench.path, settings, "t", by="a", severity_number=1, items=(("session", "s1"),))
    exported = bundle.export(bench.path, settings, made, tmp_path / "out", by="a")
    assert all("nobody else reads" not in path.read_text("utf-8") for path in (tmp_path / "out").iterdir())
    assert records(tmp_path / "out", "span")[0]["content_error"].startswith("content is encrypted")
    assert bundle.verify(tmp_path / "out", exported.public_key).problems == []


class Page(html.parser.HTMLParser):
    """Collects tags and the addresses that a browser would load."""

    def __init__(self):
        super().__init__()
        self.tags, self.loaded, self.text = set(), [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.loaded += [value for name, value in attrs if name in {"src", "srcset", "data", "action"}]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data):
        self.text += data


def test_the_html_report_has_no_script_and_loads_nothing(exported):
    page = Page()
    page.feed((exported[0] / "report.html").read_text("utf-8"))
    assert page.tags <= {
        *("html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "table", "thead", "tbody"),
        *("tr", "th", "td", "dl", "dt", "dd", "a"),
    }
    assert page.loaded == []
    assert "<b>stolen</b> | key" in page.text
    assert "<script>alert(1)</script>" in page.text
    assert "evil.example" in page.text
    assert "\u202e" not in page.text
    assert "\x1b" not in page.text


def test_the_markdown_report_shows_data_as_code(exported):
    text = (exported[0] / "report.md").read_text("utf-8")
    assert text.startswith("# `Incident ")
    assert ": <b>stolen</b> | key`\n" in text
    assert "`**bold** <img src=x>`" in text
    for line in text.splitlines():
        outside = "".join(line.replace("``", "`").split("`")[::2])
        assert "<script" not in outside
        assert "<img" not in outside


def test_findings_are_detection_findings_of_ocsf(exported):
    lines = (exported[0] / "findings.ocsf.jsonl").read_text("utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    assert len(events) == 2
    for event in events:
        model = DetectionFinding.model_validate(event)
        assert (model.class_uid, model.type_uid, model.metadata.version) == (2004, 200401, "1.9.0")
        assert model.metadata.profiles == ["ai_operation"]
        # Each value is one that the model knows and keeps, except those of the profile, which it has no fields for.
        kept = json.loads(model.model_dump_json(exclude_none=True))
        assert kept.keys() | {"ai_agent", "ai_model", "message_context"} >= event.keys()
        assert event["ai_agent"]["uid"] == "support"
        assert event["message_context"]["uid"] == "s1"
        assert event["message_context"]["application"]["name"] == "bench"
        assert "<script>" not in json.dumps({**event, "unmapped": {**event["unmapped"], "path": ""}})
    indirect = events[0]["finding_info"]["attacks"][0]
    assert (indirect["technique"]["uid"], indirect["sub_technique"]["uid"]) == ("AML.T0051", "AML.T0051.001")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {},
            {"ai_agent": {"uid": "a", "name": "a", "instance_uid": "s", "ai_model": {"name": "m", "ai_provider": "p"}}},
        ),
        ({"agent_id": None}, {"ai_model": {"name": "m", "ai_provider": "p"}}),
        ({"agent_id": None, "model": None}, {}),
        ({"session_id": None}, {"ai_agent": {"uid": "a", "name": "a", "ai_model": {"name": "m", "ai_provider": "p"}}}),
    ],
)
@pytest.mark.parametrize("severity", ["low", "medium", "high", "critical"])
@pytest.mark.parametrize("atlas", [[], ["AML.T0051"], ["AML.T0051.000", "AML.T9999"]])
def test_a_finding_names_agent_or_model_and_stays_valid(exported, change, expected, severity, atlas):
    from cylestio_monitor.incidents import ocsf
    from cylestio_monitor.store.read.findings import FindingRow
    from cylestio_monitor.store.read.incidents import Incident
    from cylestio_monitor.store.read.lists import IncidentRow, SpanSummary

    values = dict.fromkeys(FindingRow.__struct_fields__) | {
        "id": 1, "trace_id": "a" * 32, "span_id": "b" * 16, "timestamp": "2026-11-28 08:00:00.000000",
        "rule_id": "r", "category": "secret", "severity": severity, "target": "output", "subtype": "llm", "path": "x",
        "start": 0, "end": 1, "owasp": [], "atlas": atlas, "match_hash": "", "agent_id": "a", "session_id": "s",
        "model": "m", **change,
    }  # fmt: skip
    span = dict.fromkeys(SpanSummary.__struct_fields__) | {"provider": "p", "input_tokens": 3, "output_tokens": 4}
    row = IncidentRow("i", "t", "closed", 3, None, 1, "ann", 1, 2)
    incident = Incident(row, [], [], [], [], [], [], None, None, True)
    event = ocsf.detection_finding(FindingRow(**values), SpanSummary(**span), incident)
    model = DetectionFinding.model_validate(event)
    assert model.status_id == 4
    assert {name: event[name] for name in ("ai_agent", "ai_model") if name in event} == expected
    assert (event["message_context"]["prompt_tokens"], event["message_context"]["ai_role_id"]) == (3, 2)


def test_every_id_of_the_shipped_rules_has_a_name():
    rules = load_packs(shipped_files())[0]
    assert {name for rule in rules for name in rule.atlas} <= taxonomies.ATLAS.keys()
    assert {name for rule in rules for name in rule.owasp} <= taxonomies.OWASP.keys()


def test_every_category_has_a_section_of_the_runbook():
    import re
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs/how-to/handle-an-incident.md").read_text("utf-8")
    sections = {name.lower().replace(" ", "-") for name in re.findall(r"^## (.+)$", page, re.MULTILINE)}
    categories = {rule.category for rule in load_packs(shipped_files())[0]} | {"scan_incomplete", "authentication", ""}
    assert {taxonomies.runbook(category).partition("#")[2] for category in categories} <= sections
