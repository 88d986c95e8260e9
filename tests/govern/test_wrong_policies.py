"""A policy that cannot be used denies tools where its user asked for protection, in whatever form it was given."""

from __future__ import annotations

import pytest

from cylestio_monitor import BlockedError, tool
from cylestio_monitor.config import load
from cylestio_monitor.govern import limits
from cylestio_monitor.govern.outcome import Actor
from cylestio_monitor.otel import control

DENY = {"default": "deny"}
IN_SETTINGS = [
    "mode: block\npolicy: 5\n",
    "mode: block\npolicy: true\n",
    "mode: block\npolicy: [a]\n",
    "mode: block\npolicy: {}\n",
    "mode: block\npolicy: {default: deny\n",
    "mode: block\npolicy: {default: den}\n",
    "mode: block\npolicy: {default: deny}\npolicy: {default: allow}\n",
    "mode: block\npolicy: /nowhere/policy.yaml\n",
    "policy: {mode: block, defalt: deny}\n",
    "policy: {mode: blok, default: deny}\n",
]
IN_FILES = [
    ("block", ""),
    ("block", "# nothing"),
    ("block", "policy: {}"),
    ("block", "- a"),
    ("block", "default: deny\n\t- x"),
    ("monitor", "mode: block\ndefault: den\n"),
    ("monitor", "mode: blok\ndefault: deny\n"),
    ("monitor", "policy: {mode: block, defalt: deny}"),
    ("monitor", 'rules: [\n"mode" : "block"\n'),
]


@pytest.fixture
def decide(monkeypatch):
    """Gives the action about a tool call by settings, and whether it is carried out."""
    monkeypatch.setattr(control, "_last_good", None)

    def action(loaded):
        made = control.make_controller(loaded, None)
        outcome = made.decide(Actor(trace="0" * 32), "t", {})
        return outcome.decision.action, made.enforces

    return action


@pytest.mark.parametrize("text", IN_SETTINGS)
def test_a_wrong_policy_in_the_settings_denies(decide, tmp_path, text):
    path = tmp_path / "cylestio.yaml"
    path.write_text(text)
    assert decide(load({"CYLESTIO_CONFIG": str(path)})) == ("deny", True)


@pytest.mark.parametrize(("mode", "text"), IN_FILES)
def test_a_wrong_policy_file_denies(decide, tmp_path, mode, text):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    assert decide(load({"CYLESTIO_POLICY": str(path), "CYLESTIO_MODE": mode})) == ("deny", True)


@pytest.mark.parametrize("given", [5, True, ["a"], {}, {"defalt": "deny"}, object()])
def test_a_wrong_policy_in_an_argument_denies(decide, given):
    assert decide(load({}, overrides={"mode": "block", "policy": given})) == ("deny", True)


@pytest.mark.parametrize("mode", ["monitor", "block"])
def test_a_policy_in_an_argument_is_in_force_and_replaces_others(decide, tmp_path, mode):
    path = tmp_path / "policy.yaml"
    path.write_text("default: allow")
    loaded = load({"CYLESTIO_POLICY": str(path)}, overrides={"mode": mode, "policy": DENY})
    assert loaded.problems == []
    assert decide(loaded) == ("deny", mode == "block")


@pytest.mark.parametrize("text", ["mode: monitor\ndefault: den\n", "rules: [{id: a}]"])
def test_a_wrong_policy_of_mode_monitor_denies_nothing(decide, tmp_path, text):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    action, _ = decide(load({"CYLESTIO_POLICY": str(path)}))
    assert action == "allow"


@pytest.mark.parametrize("settings", ["scan: {enabled: false}", "scan: {enabled: true}"])
@pytest.mark.parametrize(
    "rule", ["policy: {default: deny}", "control: {limits: [{name: none, measure: calls, amount: 0}]}"]
)
def test_control_does_not_depend_on_the_scan(governed, hooked, settings, rule):
    governed(f"mode: block\n{settings}\n{rule}")

    @tool
    def function():
        return "ran"

    with pytest.raises(BlockedError):
        function()
    assert hooked.spans()[-1].attributes["cylestio.security.scanned"] is ("true" in settings)


def test_limits_that_cannot_be_counted_refuse(governed, monkeypatch):
    def fails(*_):
        raise ValueError("limits need: pip install 'cylestio-monitor[control]'")

    monkeypatch.setattr(limits.CallLimiter, "__init__", fails)
    governed("mode: block\ncontrol: {limits: [{name: few, measure: calls, amount: 100}]}")

    @tool
    def function():
        return "ran"

    with pytest.raises(BlockedError, match=r"scan\.incomplete"):
        function()


@pytest.mark.parametrize("key", ["agent_id", "session_id"])
@pytest.mark.parametrize("source", ["variable", "argument", "none"])
def test_a_local_file_does_not_name_whom_a_policy_is_about(tmp_path, monkeypatch, key, source):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "repository").mkdir(mode=0o755)
    monkeypatch.chdir(tmp_path / "repository")
    (tmp_path / "repository" / "cylestio.yaml").write_text(f"mode: block\n{key}: research\n")
    environ = {"CYLESTIO_POLICY": "/srv/policy.yaml"} if source == "variable" else {}
    loaded = load(environ, overrides={"policy": DENY} if source == "argument" else None)
    named = getattr(loaded.settings, key)
    assert named == ("research" if source == "none" else None)
    assert loaded.settings.mode == "block"
    assert [(one.key, one.line) for one in loaded.problems] == ([] if source == "none" else [(key, 2)])
