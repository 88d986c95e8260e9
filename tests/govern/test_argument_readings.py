"""Hosts, paths and numbers in arguments: every spelling that a receiver may read, and what cannot be read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from cylestio_monitor.govern import facts as f
from cylestio_monitor.govern.history import CallHistory
from cylestio_monitor.govern.policy import Policy, PolicyDocument

KEY = b"key of the tests"
INSIDE = {"arguments": {"to": {"host": "example.com"}}, "action": "allow"}


def facts(arguments):
    found, complete = f.argument_facts(arguments, KEY)
    return f.CallFacts(time_ns=1, tool="send_email", arguments=found, complete=complete)


def decide(rule, call, **keys):
    made = Policy(msgspec.convert({"rules": [{"id": "r0", **rule}], **keys}, PolicyDocument), KEY)
    return made.decide(call, CallHistory())


ADDRESSES = [
    ("169.254.169.254", "http://2852039166/"),
    ("169.254.169.254", "http://0xa9fea9fe/"),
    ("169.254.169.254", "http://0251.0376.0251.0376/"),
    ("169.254.169.254", "http://169.254.43518/"),
    ("169.254.169.254", "http://[::ffff:169.254.169.254]/"),
    ("169.254.169.254", "http://[::FFFF:a9fe:a9fe]/"),
    ("169.254.169.254", "http://[64:ff9b::a9fe:a9fe]/"),
    ("169.254.169.254", "http://169\u3002254\u3002169\u3002254/"),
    ("169.254.169.254", "http://16\t9.254.169.254/"),
    ("169.254.169.254", "0xa9fea9fe"),
    ("169.254.169.254", 2852039166),
    ("127.0.0.1", "http://127.1/"),
    ("127.0.0.1", "http://0177.0.0.1/"),
    ("localhost", "localhost"),
    ("localhost", "LOCALHOST:8080"),
    ("localhost", "ssh root@localhost"),
    ("::1", "::1"),
    ("::1", "http://[0:0:0:0:0:0:0:1]:80/"),
    ("0:0:0:0:0:0:0:1", "http://[::1]/"),
    ("evil.test", "eve@evil\u3002test"),
    ("evil.test", "http://ev\r\nil.test/"),
    ("evil.test", "eve@evil.test@example.com"),
    ("b\u00fccher.test", "eve@xn--bcher-kva.test"),
    ("xn--bcher-kva.test", "http://B\u00dcCHER.test/"),
    ("*.b\u00fccher.test", "http://www.xn--bcher-kva.test/"),
]
"""A host, and a text that a receiver may connect to it by."""

STRANGERS = [
    "x@evil\u00fcexample.com",
    "x@evil\u00fc-example.com",
    "evil\u00fcexample.com",
    "x@evil\U0001f600example.com",
    "http://evil\u4e2dexample.com/",
    "x@evil.test@example.com",
    "http://evil\texample.com/",
    "http://2130706433/",
]
"""Texts that do not lead to example.com."""

OUTSIDE = [
    "/srv/data/a%2fb%2fc%2fd/../../../etc/passwd",
    "/srv/data/a\\b\\c\\d/../../../etc/passwd",
    "/srv/data/%252e%252e/%252e%252e/etc/passwd",
    "/srv/data/..%5c..%5cetc/passwd",
    "~/../srv/data/x",
    "/SRV/data/x",
]
"""Paths that some readers see outside of /srv/data."""

INSIDE_ETC = [
    "/etc",
    "/etc/",
    " /etc/passwd",
    "/ETC/passwd",
    "../../../etc/passwd",
    "/a%2fb/../etc/passwd",
    "/a%2fb/../../etc/passwd",
    b"/etc/passwd",
    Path("/etc/passwd"),
]
"""Paths that some readers see at or below /etc."""


@pytest.mark.parametrize(("host", "text"), ADDRESSES)
def test_a_denied_host_is_known_in_every_spelling(host, text):
    call = facts({"to": ["ann@example.com", text]})
    for known in (call, f.load(call.storable())):
        assert decide({"arguments": {"to": {"host": host}}, "action": "deny"}, known).action == "deny"


@pytest.mark.parametrize("text", STRANGERS)
def test_a_name_that_only_ends_like_an_allowed_host_is_another_host(text):
    assert decide(INSIDE, facts({"to": text}), default="deny").action == "deny"


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_is_allowed_only_if_every_reader_sees_it_inside(path):
    rule = {"arguments": {"to": {"path": "/srv/data"}}, "action": "allow"}
    assert decide(rule, facts({"to": path}), default="deny").action == "deny"


@pytest.mark.parametrize("path", INSIDE_ETC)
def test_a_path_is_denied_if_one_reader_sees_it_inside(path):
    assert decide({"arguments": {"to": {"path": "/etc"}}, "action": "deny"}, facts({"to": path})).action == ("deny")


@pytest.mark.parametrize(("folder", "path"), [("~/.ssh", "/home/ann/.ssh/id"), ("/home/ann/.ssh", "~/.ssh/id")])
def test_the_home_folder_is_one_folder_in_both_spellings(monkeypatch, folder, path):
    monkeypatch.setenv("HOME", "/home/ann")
    call = facts({"to": path})
    assert decide({"arguments": {"to": {"path": folder}}, "action": "deny"}, call).action == "deny"
    assert decide({"arguments": {"to": {"path": folder}}, "action": "allow"}, call, default="deny").action == "allow"


def nested(value, depth):
    for _ in range(depth):
        value = [value]
    return value


BEYOND = [
    {"rows": ["x"] * 5000, "to": "eve@evil.test"},
    {"to": ["ann@example.com"] * 5000 + ["eve@evil.test"]},
    {"to": nested("eve@evil.test", 100)},
    {"to": ["ann@example.com", nested("eve@evil.test", 100)]},
    {**{f"a{number}": "x" for number in range(5000)}, "to": "eve@evil.test"},
    '{"to": "eve@evil.test",}',
]


@pytest.mark.parametrize("arguments", BEYOND)
def test_what_lies_beyond_a_bound_counts_against_the_caller(arguments):
    call = facts(arguments)
    for known in (call, f.load(call.storable())):
        assert decide({"arguments": {"to": {"host": "evil.test"}}, "action": "deny"}, known).action == "deny"
        assert decide(INSIDE, known, default="deny").action == "deny"


def test_a_long_list_does_not_make_other_arguments_unreadable():
    call = facts({"rows": ["x"] * 5000, "to": "ann@example.com"})
    assert decide({"arguments": {"to": {"host": "evil.test"}}, "action": "deny"}, call).action == "allow"


def test_a_flood_of_findings_does_not_hide_a_later_one_from_the_rules_about_it():
    history = CallHistory()
    flood = tuple(f.FindingFact("keyword", f"keyword.k{number}", "low", "llm") for number in range(1000))
    leak = (f.FindingFact("secret", "secret.key", "high", "tool_result"),)
    for tool, findings in (*((f"t{number}", flood) for number in range(300)), ("read_vault", leak)):
        history.record(f.CallFacts(time_ns=1, tool=tool, session="s", findings=findings))
    for condition in ({"category": "secret"}, {"tool": "read_vault"}, {"data": ["secret"]}):
        tree = {"rules": [{"id": "r0", "after": condition, "action": "deny"}]}
        made = Policy(msgspec.convert(tree, PolicyDocument), KEY)
        assert made.decide(f.CallFacts(time_ns=2, tool="send", session="s"), history).action == "deny"
