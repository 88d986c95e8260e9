"""What the store keeps of tool calls holds no secret and no personal data, wherever in the call it stood."""

from __future__ import annotations

import json

import pytest

from cylestio_monitor import BlockedError, tool
from cylestio_monitor.govern.outcome import Actor
from cylestio_monitor.govern.redaction.facts import OutcomeMask
from cylestio_monitor.identity import identify
from govern.recorded import rows
from road import AWS

MAIL, CARD = "ann.lee@customer-corp.io", 4111111111111111
ARGUMENTS = [
    {"card": CARD},
    {"card": str(CARD)},
    {"card": float(CARD)},
    {"card": -CARD},
    {"rows": [{"password": 8371920}]},
    {MAIL: 1},
    {CARD: "x"},
    {"to": {MAIL: {"x": [1]}}},
    {"path": f"/srv/{AWS}/x"},
    {"url": f"https://example.com/?key={AWS}"},
    {"path": f"{AWS}/x/y"},
]


@pytest.fixture
def mask(governed, hooked):
    governed("control: {provenance: true}")
    return OutcomeMask(hooked.pipeline.redact, hooked.pipeline.scanner.private)


def stored(store):
    tables = ("call_facts", "decision", "value_origin", "approval")
    return json.dumps([rows(store, f"SELECT * FROM {table}") for table in tables], default=repr)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("content", ["none", "masked"])
def test_no_value_and_no_key_of_the_arguments_is_stored(governed, arguments, content):
    store = governed(f"content: {content}\npolicy: {{rules: [{{id: known, action: audit}}]}}")

    @tool
    def function(given):
        return None

    function(arguments)
    text = stored(store)
    assert "function" in text
    for private in (MAIL, str(CARD), AWS, "8371920"):
        assert private not in text, text


@pytest.mark.parametrize("name", [f"x {MAIL}", f"x {AWS}", "a\x1b[31m\nb"])
def test_names_in_decisions_are_masked_and_on_one_line(governed, hooked, name):
    store = governed("mode: block\npolicy: {default: deny}")

    @tool(name=name)
    def function():
        return None

    with identify(user_id=name, roles=[name]), pytest.raises(BlockedError) as refused:
        function()
    texts = [stored(store), json.dumps(dict(hooked.spans()[-1].attributes), default=list), str(refused.value)]
    for private in (MAIL, AWS, "\\u001b", "\x1b"):
        assert not [text for text in texts if private in text]


def test_hosts_folders_and_magnitudes_stay(governed, hooked, mask):
    outcome = hooked.pipeline.controller.decide(
        Actor(trace="0" * 32),
        "t",
        {"to": MAIL, "path": f"/srv/data/{AWS}/x", "card": CARD, "amount": 1250.5, "url": "https://a.example/b"},
    )
    recorded = mask.recorded(outcome).facts.arguments
    assert [(one.name, one.hosts, one.folder, one.number, one.text) for one in recorded] == [
        ("to", ("customer-corp.io",), ".", None, None),
        ("path", (), "/srv/data/redacted", None, None),
        ("card", (), "", 4e15, None),
        ("amount", (), "", 1250.5, None),
        ("url", ("a.example",), "", None, None),
    ]
