"""`cylestio incident` and `cylestio report` as a person uses them, on a store with an attack."""

from __future__ import annotations

import re
import shutil
import stat

import pytest

from incidents.conftest import attack  # noqa: F401 -- the fixture


@pytest.fixture
def store(attack, place, monkeypatch):  # noqa: F811 -- the fixture
    """A copy of the store of its own."""
    shutil.copytree(attack.path.parent, place / "data")
    monkeypatch.setenv("CYLESTIO_DB_PATH", str(place / "data" / attack.path.name))
    return attack


def opened(cylestio, *words):
    done = cylestio("incident", "open", *words)
    assert done.code == 0, done.err
    return re.search(r"incident ([0-9a-f]{12}) is open", done.out)[1]


def test_an_incident_from_its_finding_to_its_evidence(cylestio, store, place):
    finding = next(one for one in cylestio("findings", "--json").lines if one["rule_id"] == "secret.aws")
    made = opened(cylestio, finding["id"], "--owner", "ann")
    touched = cylestio("incident", "open", finding["id"], "--title", "again").out
    assert "entry point: " in touched
    assert "evil.example" in touched
    assert cylestio("incident", "close", re.search(r"incident ([0-9a-f]{12})", touched)[1]).code == 0
    assert made in cylestio("incident", "list").out
    shown = cylestio("incident", "show", made[:6])
    assert "evil.example" in shown.out
    assert "tool:mail/read" in shown.out
    assert "\x1b" not in shown.out
    assert "\u202e" not in shown.out
    assert cylestio("incident", "note", made, "the key was revoked").code == 0
    assert cylestio("incident", "assign", made, "bob").code == 0
    assert cylestio("incident", "close", made, "--note", "nothing was sent").code == 0
    assert cylestio("incident", "list").out == ""
    document = cylestio("incident", "show", made, "--json").json
    assert (document["row"]["state"], document["row"]["owner"]) == ("closed", "bob")
    assert [one["text"] for one in document["notes"]] == ["the key was revoked", "nothing was sent"]
    exported = cylestio("incident", "export", made, "evidence")
    key = re.search(r"public key: (\w{64})", exported.out)[1]
    verified = cylestio("audit", "verify", "--evidence", "evidence", "--public-key", key)
    assert verified.code == 0
    assert "the bundle is sound" in verified.out
    (place / "evidence" / "report.md").write_text("changed")
    verified = cylestio("audit", "verify", "--evidence", "evidence", "--public-key", key, "--json")
    assert (verified.code, verified.json["sound"]) == (1, False)
    assert verified.json["bundle_problems"] == ["file report.md is not what it was"]
    assert cylestio("incident", "close", made, "--reopen").code == 0
    assert made in cylestio("incident", "list").out


def test_something_more_is_added_to_an_incident(cylestio, store):
    made = opened(cylestio, store.trace_id[:8], "--title", "two runs", "--severity", "critical")
    assert cylestio("incident", "open", "s2", "--to", made).code == 0
    document = cylestio("incident", "show", made, "--json").json
    assert [kind for kind, _ in document["items"]] == ["trace", "session"]
    assert document["row"]["severity_number"] == 4
    assert document["radius"]["elsewhere"] == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("incident", "open", "nothing"), 3),
        (("incident", "open", "s1", "--kind", "trace"), 3),
        (("incident", "open", "s1", "--title", " "), 3),
        (("incident", "show", "ffff"), 3),
        (("incident", "note", "ffff", "x"), 3),
        (("incident", "assign", "ffff", " "), 2),
        (("incident", "close", "ffff"), 3),
        (("incident", "export", "ffff", "out"), 3),
        (("incident", "open"), 2),
    ],
)
def test_a_wrong_command_line_is_one_clear_error(cylestio, store, place, words, code):
    done = cylestio(*words)
    assert (done.code, done.out) == (code, "")
    assert done.err.splitlines()[-1].startswith("error: ")
    assert not (place / "out").exists()


@pytest.mark.parametrize("command", ["list", "show x", "open x", "note x y", "close x", "export x out"])
def test_without_a_store_the_command_says_how_to_start(cylestio, command):
    done = cylestio("incident", *command.split())
    assert done.code == 3
    assert "no store yet" in done.err


@pytest.mark.parametrize("name", ["report.html", "week.md"])
def test_a_report_is_one_private_page(cylestio, store, place, name):
    opened(cylestio, "s1", "--title", "<i>x</i>")
    done = cylestio("report", "--since", "7d", "--output", name)
    assert (done.code, done.out.strip()) == (0, name)
    text = (place / name).read_text("utf-8")
    assert stat.S_IMODE((place / name).stat().st_mode) == 0o600
    for expected in ("injection.order", "secret.aws", "support", "claude-wire", "send"):
        assert expected in text
    assert "<script" not in text
    assert ("&lt;i&gt;x&lt;/i&gt;" if name.endswith("html") else "`<i>x</i>`") in text
    again = cylestio("report", "--output", name)
    assert again.code == 3
    assert "exists" in again.err
    assert (place / name).read_text("utf-8") == text


def test_a_report_about_a_time_without_calls_says_none(cylestio, store, place):
    assert cylestio("report", "--since", "2099-01-01", "-o", "empty.html").code == 0
    assert "injection.order" not in (place / "empty.html").read_text("utf-8")
