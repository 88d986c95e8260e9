"""The path of one call through the package: a clean call enters few modules on the caller's thread."""

import sys

import anthropic
import pytest

from cylestio_monitor.capture.span_resolvers import enclosing_calls, external_spans
from cylestio_monitor.otel import setup
from wire import WireServer

MOST_MODULES = 18


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.setenv("CYLESTIO_DB_PATH", str(tmp_path / "store.db"))
    monkeypatch.setattr(enclosing_calls, "is_active", False)
    monkeypatch.setattr(external_spans, "is_active", False)
    setup.start({"agent_id": "agent"})
    with WireServer() as wire, anthropic.Anthropic(api_key="k", base_url=wire.url, max_retries=0) as made:
        yield made
    setup.stop()


def modules_entered(work):
    """The modules of the package whose functions `work` calls on this thread."""
    entered = set()

    def profile(frame, event, _):
        if event == "call":
            name = frame.f_globals.get("__name__", "")
            if name.startswith("cylestio_monitor"):
                entered.add(name)

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return entered


def test_a_clean_call_enters_few_modules(client, monkeypatch):
    def ask():
        client.messages.create(
            model="claude-test", max_tokens=10, messages=[{"role": "user", "content": "hello there"}]
        )

    ask()
    ask()
    for resolver in (enclosing_calls, external_spans):  # another test of this process may have left spans of libraries
        monkeypatch.setattr(resolver, "is_active", False)
    entered = modules_entered(ask)
    assert "cylestio_monitor.pipeline" in entered
    assert len(entered) <= MOST_MODULES, sorted(entered)
    assert not [name for name in entered if ".external_spans" in name]
