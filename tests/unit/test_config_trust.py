"""Settings files of a working directory only tighten, and no wrong setting weakens protection."""

from __future__ import annotations

import json
import operator
import os
import re
from pathlib import Path

import pytest

from cylestio_monitor import config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory beside an empty configuration folder of the user."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "cylestio-monitor").mkdir(parents=True)
    (tmp_path / "repository").mkdir(mode=0o755)
    monkeypatch.chdir(tmp_path / "repository")
    return tmp_path / "repository"


def trusted(place, text):
    (place.parent / "config" / "cylestio-monitor" / "cylestio.yaml").write_text(text)


def local(place, text):
    (place / "cylestio.yaml").write_text(text)


def value(settings, key):
    return operator.attrgetter(key)(settings)


WEAKER = {
    "enabled": "false",
    "mode": "monitor",
    "block": "[]",
    "block_unreadable": "false",
    "llm_hosts": "[]",
    "content": "full",
    "content_max_bytes": "100000000",
    "keywords.suspicious": "[]",
    "keywords.dangerous": "[]",
    "keywords.defaults": "false",
    "rules.packs": "[/etc/rules.yaml]",
    "rules.experimental": "false",
    "rules.silence": "[{rule: secret.*}]",
    "rules.override": "[{rule: secret.*, severity: low}]",
    "scan.enabled": "false",
    "scan.engine": "python",
    "scan.max_bytes": "1024",
    "scan.parsers": "builtin",
    "scan.locales": "[DE]",
    "detectors.use": "[]",
    "detectors.model": "model",
    "detectors.threshold": "1.0",
    "detectors.severity": "low",
    "detectors.surfaces": "[]",
    "detectors.max_chars": "256",
    "store.enabled": "false",
    "store.path": "other.db",
    "store.max_mb": "8",
    "log.file": "/tmp/elsewhere.jsonl",
    "policy": "other.yaml",
    **dict.fromkeys(["control.provenance", "detectors.wait", "moderation.wait", "moderation.required"], "false"),
    **dict.fromkeys(["control.limits", "control.prices"], "[]"),
    "control.invalid_arguments": "ignore",
    "control.counters": "redis://127.0.0.1:1",
    "control.pins": "tools.lock.json",
    "approvals.timeout_s": "100000",
    "approvals.terminal": "true",
    "approvals.webhook": "https://other.example/",
    "approvals.webhook_secret": "OTHER",
    "identity.trusted_callers": "[0.0.0.0/0]",
    **dict.fromkeys(["store.durable_wait_ms", "log.backups", "authentication.failures", "authentication.users"], "0"),
    "authentication.role_changes": "false",
    **dict.fromkeys(["detectors.budget_ms", "store.keep_days", "store.keep_findings_days", "log.max_mb"], "1"),
    "authentication.window_s": "1",
    **dict.fromkeys(["agent_id", "session_id", "semconv.guardrail"], "off"),
}
STRICT = """
mode: block
block: [suspicious, dangerous]
content: masked
agent_id: mine
session_id: mine
keywords: {suspicious: [okapi], dangerous: [zebra]}
rules: {experimental: true}
scan: {parsers: installed}
detectors: {use: [onnx], model: /models/mine, severity: high, wait: true}
store: {path: /data/mine.db, durable_wait_ms: 500}
log: {file: /data/mine.jsonl}
policy: /data/policy.yaml
control: {limits: [{name: few, measure: calls, amount: 3}], prices: [{model: m, input: 1, output: 2}]}
approvals: {webhook: "https://mine.example/", webhook_secret: MINE}
semconv: {guardrail: experimental}
"""


def test_every_setting_that_a_local_file_may_change_has_a_case():
    changeable = {option.key for option in config.options() if option.local != "no"}
    assert set(WEAKER) >= changeable, "a setting that a local file may change needs a case in WEAKER"


@pytest.mark.parametrize("key", WEAKER)
def test_a_local_file_weakens_no_setting(place, key):
    trusted(place, STRICT)
    before = config.load({}).settings
    nested = WEAKER[key]
    for name in reversed(key.split(".")):
        nested = f"{{{name}: {nested}}}"
    local(place, nested)
    loaded = config.load({})
    assert value(loaded.settings, key) == value(before, key)
    assert loaded.settings == before


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("mode: block", "mode", "block"),
        ("block: [suspicious]", "block", ("dangerous", "suspicious")),
        ("content: none", "content", "none"),
        ("agent_id: repository", "agent_id", "repository"),
        ("keywords: {dangerous: [wipe]}", "keywords.dangerous", ("wipe",)),
        ("security: {dangerous_keywords: [wipe]}", "keywords.dangerous", ("wipe",)),
        ("store: {keep_days: 90}", "store.keep_days", 90),
        ("scan: {parsers: installed}", "scan.parsers", "installed"),
        ("detectors: {threshold: 0.5}", "detectors.threshold", 0.5),
    ],
)
def test_a_local_file_tightens(place, text, key, expected):
    local(place, text)
    loaded = config.load({})
    assert value(loaded.settings, key) == expected
    assert loaded.problems == []
    assert loaded.origin[key].startswith("cylestio.yaml:1")


@pytest.mark.parametrize("path", ["/etc/passwd", "~/.bashrc", "../x", "a/../../x", "link/x", "", ".", "a\0b"])
@pytest.mark.parametrize("key", ["log.file", "store.path", "rules.packs"])
def test_a_local_file_names_no_path_outside_its_folder(place, key, path):
    (place / "link").symlink_to(place.parent)
    section, name = key.split(".")
    local(place, json.dumps({section: {name: [path] if key == "rules.packs" else path}}))
    loaded = config.load({})
    assert not value(loaded.settings, key)
    assert [problem.key for problem in loaded.problems] == [key]


@pytest.mark.parametrize("key", ["log.file", "store.path"])
def test_a_path_inside_the_folder_is_absolute_afterwards(place, key):
    section, name = key.split(".")
    local(place, f"{section}: {{{name}: data/file}}")
    assert value(config.load({}).settings, key) == str(place / "data" / "file")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: file.chmod(0o666), "the file is writable by other users"),
        (lambda file: file.chmod(0o664), "the file is writable by other users"),
        (lambda file: file.parent.chmod(0o777), "its folder is writable by other users"),
        (lambda file: file.parent.chmod(0o1777), "its folder is writable by other users"),
        (lambda file: file.rename(file.with_name("x")) and file.symlink_to("x"), "symbolic link"),
        (lambda file: file.unlink() or os.mkfifo(file), "not a regular file"),
        (lambda file: file.unlink() or file.mkdir(), "directory"),
    ],
)
def test_a_local_file_that_others_may_write_is_not_used(place, spoil, reason):
    local(place, "mode: block")
    spoil(place / "cylestio.yaml")
    try:
        loaded = config.load({})
    finally:
        place.chmod(0o755)
    assert loaded.settings == config.Settings()
    assert reason in str(loaded.problems[0])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("what", ["cylestio.yaml", "."])
def test_a_local_file_of_another_user_is_not_used(place, what):
    local(place, "mode: block")
    os.chown(place / what, 65534, -1)
    try:
        loaded = config.load({})
    finally:
        os.chown(place / what, 0, -1)
    assert loaded.settings.mode == "monitor"
    assert "belongs to another user" in str(loaded.problems[0])


def test_the_users_own_file_and_a_named_one_may_do_everything(place):
    text = "enabled: false\nrules: {silence: [{rule: secret.*}]}\nlog: {file: /var/log/agent.jsonl}\n"
    trusted(place, text)
    assert config.load({}).settings.enabled is False
    (place / "named.yaml").write_text(text)
    loaded = config.load({"CYLESTIO_CONFIG": "named.yaml"})
    assert (loaded.settings.enabled, loaded.settings.log.file, loaded.problems) == (False, "/var/log/agent.jsonl", [])


def test_a_named_fifo_does_not_hang_and_the_users_own_file_applies(place):
    trusted(place, "mode: block")
    os.mkfifo(place / "fifo")
    loaded = config.load({"CYLESTIO_CONFIG": str(place / "fifo")})
    assert loaded.settings.mode == "block"
    assert "not a regular file" in str(loaded.problems[0])


@pytest.mark.parametrize("wrong", ["blok", "BLOCK ", "blocking", "bloc", "deny", "enforce", "5", "[block]", "{a: 1}"])
@pytest.mark.parametrize("where", ["file", "variable", "argument"])
def test_a_misspelt_mode_is_the_stricter_one_and_reported(place, where, wrong):
    environ, overrides, path = {}, None, None
    if where == "file":
        path = place / "own.yaml"
        path.write_text(f"mode: {wrong!r}\n" if isinstance(wrong, str) and wrong.isalpha() else f"mode: {wrong}\n")
    elif where == "variable":
        environ = {"CYLESTIO_MODE": wrong}
    else:
        overrides = {"mode": wrong}
    loaded = config.load(environ, path=path, overrides=overrides)
    assert loaded.settings.mode == "block"
    if (where, wrong.strip().lower()) not in {("variable", "block"), ("file", "block")}:
        assert 'Cylestio uses "block"' in str(loaded.problems[0])


def test_a_misspelt_monitor_keeps_the_mode_in_force(place):
    trusted(place, "mode: block")
    assert config.load({"CYLESTIO_MODE": "monitr"}).settings.mode == "block"
    assert config.load({}, overrides={"mode": "monitr"}).settings.mode == "block"
    trusted(place, "")
    loaded = config.load({"CYLESTIO_MODE": "monitr"})
    assert loaded.settings.mode == "monitor"
    assert "did you mean 'monitor'?" in str(loaded.problems[0])


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("block: [suspicious, dangerus]", "block", ("dangerous", "suspicious")),
        ("block: [suspicious, 5]", "block", ("dangerous", "suspicious")),
        ("block: suspicious", "block", ("dangerous", "suspicious")),
        ("block: {dangerous: true}", "block", ("dangerous",)),
        ("block:", "block", ("dangerous",)),
        ("content: maskd", "content", "none"),
        ("content: nothing", "content", "none"),
        ("enabled: flase", "enabled", True),
        ("scan: {enabled: 0}", "scan.enabled", True),
        ("scan: flase", "scan.enabled", True),
        ("detectors: {wait: ture}", "detectors.wait", True),
        ("detectors: {severity: hihg}", "detectors.severity", "high"),
        ("keywords: {dangerous: wipe}", "keywords.dangerous", ("wipe",)),
        ("keywords: {defaults: nope}", "keywords.defaults", True),
        ("store: {keep_findings_days: none}", "store.keep_findings_days", 365),
        ("rules: {override: [{rule: a.*, severity: lo}]}", "rules.override", ()),
    ],
)
def test_no_wrong_value_weakens_protection(place, text, key, expected):
    file = place / "own.yaml"
    file.write_text(text)
    loaded = config.load({}, path=file)
    assert value(loaded.settings, key) == expected
    assert loaded.problems


@pytest.mark.parametrize(
    "entry",
    [
        "{rule: a.b, until: 2027-02-31}",
        "{rule: a.b, until: 31.03.2027}",
        "{rule: a.b, until: 2027-3-31}",
        "{rule: a.b, until: tomorrow}",
        "{rule: a.b, until: 20270331}",
        "{rule: a.b, until: 2027-03-31 12:00:00}",
        "{rule: a.b, until: }",
        "{rule: a.b, until: ''}",
        "{rule: a.b, untill: 2027-03-31}",
        "{rule: a.b, paht: 'tools[*]'}",
        "{rule: [a.b]}",
        "{reason: known}",
        "{rule: null}",
        "a.b",
    ],
)
def test_a_silence_with_a_mistake_is_dropped_whole(place, entry):
    file = place / "own.yaml"
    file.write_text(f"rules:\n  silence:\n    - {entry}\n    - {{rule: c.d, until: 2027-03-31}}\n")
    loaded = config.load({}, path=file)
    assert [(silence.rule, silence.until) for silence in loaded.settings.rules.silence] == [("c.d", "2027-03-31")]
    (problem,) = loaded.problems
    assert problem.line == 3
    assert problem.key.startswith("rules.silence[0]")


@pytest.mark.parametrize(
    ("text", "mode", "agent"),
    [
        ("mode: block\nagent_id: [\n", "block", None),
        ("agent_id: a\nmode: 'block\n", "block", "a"),
        ("mode: block\nmode: monitor\nagent_id: a\n", "block", "a"),
        ("mode: monitor\nmode: block\n", "block", None),
        ("store:\n\tpath: x\nmode: block\n", "block", None),
        ("mode: block\nkeywords: {dangerous: [*missing]}\n", "block", None),
        ("mode: block\n%%%\n", "block", None),
    ],
)
def test_a_broken_file_keeps_the_settings_that_can_be_read(place, text, mode, agent):
    file = place / "own.yaml"
    file.write_text(text)
    loaded = config.load({}, path=file)
    assert (loaded.settings.mode, loaded.settings.agent_id) == (mode, agent)
    assert loaded.problems


def test_a_run_time_change_with_a_wrong_value_keeps_what_is_in_force():
    running = config.load({}, overrides={"mode": "block", "store": {"max_mb": 64}, "agent_id": "a"}).settings
    changed = config.load({}, overrides={"mode": "monitr", "store": {"max_mb": "x"}, "agent_id": 5}, in_force=running)
    assert (changed.settings.mode, changed.settings.store.max_mb, changed.settings.agent_id) == ("block", 64, "a")
    assert len(changed.problems) == 3


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CYLESTIO_MOED", "CYLESTIO_MODE"),
        ("CYLESTO_MODE", "CYLESTIO_MODE"),
        ("cylestio_mode", "CYLESTIO_MODE"),
        ("CYLESTIO_STORE_PATH", "CYLESTIO_DB_PATH"),
        ("CYLESTIO_DANGEROUS_KEYWORD", "CYLESTIO_DANGEROUS_KEYWORDS"),
        ("CYLESTIO_CONFIGURATION", "CYLESTIO_CONFIG"),
        ("OTEL_CYLESTIO_MOD", "CYLESTIO_MODE"),
        ("CYLESTIO_QQWWXXZZ", None),
    ],
)
def test_an_unknown_variable_is_reported(place, name, meant):
    (problem,) = config.load({name: "x"}).problems
    assert problem.source == name
    assert f"did you mean {meant}?" in str(problem) if meant else "did you mean" not in str(problem)


def test_variables_of_other_programs_are_not_reported(place):
    own = {option.env: "" for option in config.options() if option.from_text}
    others = {"CYPRESS_CACHE_FOLDER": "x", "CYGWIN": "x", "CYTHON_TRACE": "1", "CYLESTIO_STORE_KEY": "k"}
    assert config.load({**own, **others}).problems == []


def test_every_variable_of_the_project_is_a_setting_or_listed():
    from cylestio_monitor.config import names

    known = {option.env for option in config.options()} | names.OTHER_VARIABLES | {config.CONFIG_VARIABLE}
    found = set()
    for folder in ("src", "collector-config", "docs"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in {".py", ".yaml", ".md", ".service", ".json", ".ottl"}:
                text = file.read_text("utf-8")
                found |= set(re.findall(r"\bCYLESTIO_[A-Z][A-Z0-9_]*[A-Z0-9](?![A-Z0-9_*{])", text))
    assert found - known == set()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("moed: block", "mode"),
        ("stor: {path: x}", "store"),
        ("store: {pth: x}", "store.path"),
        ("max_mb: 9", "store.max_mb` or `log.max_mb"),
        ("security: {dangerous_keyword: [x]}", "security.dangerous_keywords"),
        ("rules: {silences: []}", "rules.silence"),
    ],
)
def test_an_unknown_key_names_the_one_that_was_meant(place, text, meant):
    file = place / "own.yaml"
    file.write_text(text)
    assert f"did you mean `{meant}`?" in str(config.load({}, path=file).problems[0])


def test_the_keyword_lists_of_earlier_releases_work_verbatim(place):
    file = place / "own.yaml"
    file.write_text(
        'security:\n  suspicious_keywords: ["REMOVE", 5]\n  dangerous_keywords:\n    - "TRANSFER ALL FUNDS"\n'
    )
    loaded = config.load({}, path=file)
    assert loaded.settings.keywords.suspicious == ("REMOVE",)
    assert loaded.settings.keywords.dangerous == ("TRANSFER ALL FUNDS",)
    (problem,) = loaded.problems
    assert (problem.line, problem.key) == (2, "security.suspicious_keywords[1]")
    assert loaded.origin["keywords.dangerous"] == f"{file}:3"


def test_both_names_of_the_keyword_lists_are_joined(place):
    file = place / "own.yaml"
    file.write_text("security: {dangerous_keywords: [a]}\nkeywords: {dangerous: [b]}\n")
    assert config.load({}, path=file).settings.keywords.dangerous == ("b", "a")
