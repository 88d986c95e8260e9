"""The settings about alerts: what is wrong is named with file, line and key, and the rest applies."""

from __future__ import annotations

import pytest

from cylestio_monitor import config

GOOD = "{name: ops, webhook: 'https://example.org/x', webhook_secret: OPS}"
MAIL = "name: m, email: [a@example.org], sender: b@example.org"


def load(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    loaded = config.load({}, path=path)
    return loaded.settings.alerts, [str(problem).removeprefix(f"{path}:") for problem in loaded.problems]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("{name: t}", "4: alerts.targets[1]: needs exactly one of"),
        ("{name: t, webhook: 'https://a/x', webhook_secret: A, apprise: B}", "4: alerts.targets[1]: needs exactly one"),
        ("{name: ' ', webhook: 'https://a/x', webhook_secret: A}", "4: alerts.targets[1].name: must not be empty"),
        ("{name: t, webhook: 'https://a/x'}", "4: alerts.targets[1]: needs `webhook_secret`"),
        ("{name: t, webhook: 'http://a/x', webhook_secret: A}", "4: alerts.targets[1].webhook: must be `https`"),
        ("{name: t, webhook: 'file:///etc/x', webhook_secret: A}", "4: alerts.targets[1].webhook: must be a URL"),
        (
            "{name: t, webhook: 'https://u:p@a/x', webhook_secret: A}",
            "4: alerts.targets[1].webhook: must be a URL without",
        ),
        ("{name: t, webhook: 'https://a/x y', webhook_secret: A}", "4: alerts.targets[1].webhook: must be a URL"),
        (
            '{name: t, webhook: "https://a/x\\r\\nHost: b", webhook_secret: A}',
            "4: alerts.targets[1].webhook: must be a URL",
        ),
        ("{name: t, webhook: 'https://a:99999/x', webhook_secret: A}", "4: alerts.targets[1].webhook: must be a URL"),
        (
            "{name: t, webhook: 'https://a/x', webhook_secret: 'whsec_aGVsbG8='}",
            "4: alerts.targets[1].webhook_secret: must be",
        ),
        ("{name: t, apprise: 'slack://token'}", "4: alerts.targets[1].apprise: must be the name of an environment"),
        ("{name: m, email: [a@example.org]}", "4: alerts.targets[1]: needs `sender`"),
        ("{name: m, email: [a@example.org], sender: x}", "4: alerts.targets[1].sender: must be an e-mail"),
        ('{name: m, email: ["a@b\\nBcc: c@d"], sender: a@b}', "4: alerts.targets[1].email[0]: must be an e-mail"),
        (f"{{{MAIL}, smtp: 'a b'}}", "4: alerts.targets[1].smtp: must be `host`"),
        (f"{{{MAIL}, smtp: 'a:0'}}", "4: alerts.targets[1].smtp: must be `host`"),
        (
            f"{{{MAIL}, smtp: mail.example.org, smtp_security: none}}",
            "4: alerts.targets[1].smtp_security: may be `none`",
        ),
        (f"{{{MAIL}, smtp_password: 'pass word'}}", "4: alerts.targets[1].smtp_password: must be the name"),
        (f"{{{MAIL}, colour: red}}", "4: alerts.targets[1].colour: is not a known key"),
    ],
)
def test_a_wrong_target_is_left_out_and_named(tmp_path, target, problem):
    alerts, problems = load(tmp_path, f"alerts:\n  targets:\n    - {GOOD}\n    - {target}\n")
    assert [one.name for one in alerts.targets] == ["ops"]
    assert len(problems) == 1
    assert problems[0].startswith(problem)
    for secret in ("aGVsbG8", "slack://token", "u:p@", "pass word"):
        assert secret not in problems[0]


@pytest.mark.parametrize(
    "target",
    [
        GOOD,
        "{name: l, webhook: 'http://127.0.0.1:8080/x?y=z', webhook_secret: _A1}",
        "{name: l, webhook: 'http://[::1]:8080/x', webhook_secret: A}",
        f"{{{MAIL}, smtp: 'mail.example.org:587', smtp_user: u, smtp_password: MAIL}}",
        f"{{{MAIL}, smtp: '[::1]:25', smtp_security: none}}",
        "{name: a, apprise: SLACK_URL}",
    ],
)
def test_a_target_that_can_be_reached_is_taken(tmp_path, target):
    alerts, problems = load(tmp_path, f"alerts:\n  targets:\n    - {target}\n")
    assert problems == []
    assert len(alerts.targets) == 1


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ("{severity: high}", "3: alerts.conditions[0]: lacks `name`"),
        ("{name: ''}", "3: alerts.conditions[0].name: must not be empty"),
        ("{name: n, severity: none}", "3: alerts.conditions[0].severity: invalid enum value 'none'"),
        ("{name: n, count: 0}", "3: alerts.conditions[0].count: expected `int` >= 1"),
        ("{name: n, within: week}", "3: alerts.conditions[0].within: invalid enum value 'week'"),
        ("{name: n, group_by: [host]}", "3: alerts.conditions[0].group_by[0]: invalid enum value 'host'"),
        ("{name: n, rule: [x]}", "3: alerts.conditions[0].rule: is not a known key; did you mean"),
    ],
)
def test_a_wrong_condition_is_left_out_and_named(tmp_path, condition, problem):
    alerts, problems = load(tmp_path, f"alerts:\n  conditions:\n    - {condition}\n    - name: other\n")
    assert [one.name for one in alerts.conditions] == ["other"]
    assert [one.startswith(problem) for one in problems] == [True], problems


def test_a_target_that_no_one_has_is_named_and_the_condition_stays(tmp_path):
    text = f"alerts:\n  targets:\n    - {GOOD}\n  conditions:\n    - name: n\n      targets:\n        - opps\n"
    alerts, problems = load(tmp_path, text)
    assert alerts.conditions[0].targets == ("opps",)
    assert problems[0].startswith("7: alerts.conditions[0].targets[0]: names no target; did you mean 'ops'?")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("quiet_hours", "22-07"), ("quiet_hours", "22:00-22:00"), ("quiet_hours", "24:00-07:00"), ("quiet_hours", ""),
        ("timezone", "Nowhere"), ("timezone", "../etc/passwd"), ("timezone", "/etc/localtime"), ("timezone", ""),
        ("gather_s", "-1"), ("window_minutes", "0"), ("retry_hours", "1000"), ("quiet_severity", "huge"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_variable", [False, True])
def test_a_wrong_value_keeps_the_default(tmp_path, key, value, is_variable):
    if is_variable:
        loaded = config.load({f"CYLESTIO_ALERTS_{key.upper()}": value})
        alerts, problems = loaded.settings.alerts, loaded.problems
        if not value:  # an empty variable is none
            problems = [""]
    else:
        alerts, problems = load(tmp_path, f"alerts:\n  {key}: '{value}'\n".replace("'-1'", "-1").replace("'0'", "0"))
    assert getattr(alerts, key) == getattr(config.AlertSettings(), key)
    assert len(problems) == 1


def test_a_file_of_the_working_directory_sets_no_alerts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cylestio.yaml").write_text(f"alerts:\n  targets:\n    - {GOOD}\n  conditions:\n    - name: n\n")
    loaded = config.load({"XDG_CONFIG_HOME": str(tmp_path / "none"), "HOME": str(tmp_path)})
    assert (loaded.settings.alerts.targets, loaded.settings.alerts.conditions) == ((), ())
    assert len(loaded.problems) == 2
