"""The SDKs hooked, and control by settings in force, for the length of a test."""

from __future__ import annotations

import pytest
from cylestio_monitor.capture.anthropic import AnthropicInstrumentor
from cylestio_monitor.capture.openai import OpenAIInstrumentor

from cylestio_monitor import runtime
from cylestio_monitor.capture import span_resolvers
from cylestio_monitor.capture.mcp import MCPInstrumentor
from cylestio_monitor.config import load
from cylestio_monitor.otel import control
from cylestio_monitor.pipeline import Pipeline
from cylestio_monitor.store import Store


@pytest.fixture
def hooked(monitor):
    instrumentor = AnthropicInstrumentor()
    instrumentor.instrument(skip_dep_check=True)
    yield monitor
    instrumentor.uninstrument()


@pytest.fixture
def governed(hooked, tmp_path, scanners, monkeypatch):
    """Runs with settings and a store, with Anthropic, OpenAI and MCP hooked; gives the function that starts.

    Each start ends the one before, as a new process would.
    """
    stores = []
    instrumentors = (OpenAIInstrumentor(), MCPInstrumentor())
    for instrumentor in instrumentors:
        instrumentor.instrument(skip_dep_check=True)
    monkeypatch.setattr(control, "_last_good", None)

    def start(settings="", **overrides):
        path = tmp_path / "cylestio.yaml"
        path.write_text(settings)
        loaded = load({"CYLESTIO_CONFIG": str(path)}, overrides=overrides)
        assert loaded.problems == []
        while stores:
            stores.pop().close()
        store = Store.open(tmp_path / "data" / "store.db", loaded.settings.store)
        stores.append(store)
        hooked.pipeline = Pipeline(
            settings=loaded.settings,
            scanner=scanners(loaded.settings),
            store=store,
            tracer_provider=hooked.provider,
            resolvers=span_resolvers.ORDERED,
            controller=control.make_controller(loaded, store),
        )
        runtime.install(hooked.pipeline)
        return store

    yield start
    for instrumentor in instrumentors:
        instrumentor.uninstrument()
    for store in stores:
        store.close()
    control.approval_callbacks.clear()
