"""`cylestio config`: each value with the place that set it, each problem with file, line and key."""

from __future__ import annotations

import pytest

from cylestio_monitor.config import options


def test_show_lists_every_setting_with_the_place_that_set_it(cylestio, place, monkeypatch):
    (place / "cylestio.yaml").write_text("mode: block\nkeywords:\n  dangerous: [wire transfer]\n")
    monkeypatch.setenv("CYLESTIO_AGENT_ID", "support")
    answer = cylestio("config", "show", "--json")
    assert answer.code == 0
    assert answer.json["file"] == "cylestio.yaml"
    rows = {row["key"]: row for row in answer.json["settings"]}
    assert list(rows) == [option.key for option in options()]
    assert (rows["mode"]["value"], rows["mode"]["set_in"]) == ("block", "cylestio.yaml:1")
    assert (rows["keywords.dangerous"]["value"], rows["keywords.dangerous"]["set_in"]) == (
        ["wire transfer"],
        "cylestio.yaml:3",
    )
    assert (rows["agent_id"]["value"], rows["agent_id"]["set_in"]) == ("support", "CYLESTIO_AGENT_ID")
    assert (rows["store.keep_days"]["value"], rows["store.keep_days"]["set_in"]) == (30, "default")
    assert set(rows["mode"]) == {"key", "value", "set_in", "default", "variable", "meaning"}


def test_show_for_people_has_a_line_for_every_setting(cylestio):
    answer = cylestio("config", "show")
    assert answer.code == 0
    for option in options():
        assert f"\n{option.key} " in answer.out


def test_check_names_every_problem_by_file_line_and_key(cylestio, place):
    (place / "cylestio.yaml").write_text("mode: bluck\nstore:\n  keep_days: 0\nnonsense: 1\n")
    answer = cylestio("config", "check", "--json")
    assert answer.code == 1
    assert {(row["file"], row["line"], row["key"]) for row in answer.json["problems"]} == {
        ("cylestio.yaml", 1, "mode"),
        ("cylestio.yaml", 3, "store.keep_days"),
        ("cylestio.yaml", 4, "nonsense"),
    }
    text = cylestio("config", "check")
    assert text.code == 1
    assert "cylestio.yaml:3: store.keep_days: " in text.out
    assert text.out.endswith("cylestio.yaml: 3 problems\n")


def test_check_reads_the_rule_files_too(cylestio, place):
    (place / "cylestio.yaml").write_text("rules:\n  packs: [mine.yaml, missing.yaml]\n")
    (place / "mine.yaml").write_text("pack: mine\nrules:\n  - id: mine.no-examples\n    pattern: x+\n")
    answer = cylestio("config", "check", "--json")
    assert answer.code == 1
    files = {row["file"].rpartition("/")[2] for row in answer.json["problems"]}
    assert files == {"mine.yaml", "missing.yaml"}


def test_check_of_good_settings_says_so(cylestio, place):
    assert cylestio("config", "check").code == 0
    (place / "other.yaml").write_text("mode: block\n")
    answer = cylestio("--config", "other.yaml", "config", "check")
    assert (answer.code, answer.out) == (0, "other.yaml: no problems\n")


def test_a_settings_file_that_is_named_and_missing_is_a_problem(cylestio):
    answer = cylestio("--config", "gone.yaml", "config", "check", "--json")
    assert answer.code == 1
    assert answer.json["problems"] == [{"file": "gone.yaml", "line": None, "key": "", "reason": "no such file"}]


@pytest.mark.parametrize("command", ["status", "findings", "ui", "scan -", "alerts test"])
def test_another_command_does_not_go_on_with_other_settings_than_those_named(cylestio, command):
    answer = cylestio("--config", "gone.yaml", *command.split())
    assert (answer.code, answer.out) == (3, "")
    assert answer.err == "error: gone.yaml: there is no such settings file\n"


def test_every_problem_says_what_cylestio_does_instead(place, cylestio):
    (place / "pack.yaml").write_text("ruleset: acme\nrules:\n  - id: acme.x\n", "utf-8")
    (place / "own.yaml").write_text(
        "mode: 7\nunknown: 1\n"
        "keywords: {dangerous: ['']}\n"
        "rules:\n  packs: [missing.yaml, pack.yaml]\n"
        "  silence: [{rule: no.such}, {rule: secret.named-field, until: soon}]\n"
        "  override: [{rule: no.such, severity: critical}]\n"
        "policy: {rules: [{id: a, tool: x, action: denny}]}\n"
        "store: {max_mb: 2}\nbroken: [\n",
        "utf-8",
    )
    answer = cylestio("--config", "own.yaml", "config", "check")
    problems = answer.out.splitlines()
    assert answer.code == 1
    assert problems.pop() == "own.yaml: 11 problems"
    assert all("; Cylestio " in problem for problem in problems), answer.out
    assert "; Cylestio " in cylestio("--config", "nowhere.yaml", "config", "check").out
