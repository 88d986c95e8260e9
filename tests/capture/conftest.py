"""Both SDKs hooked, for the length of a test."""

from __future__ import annotations

import gc

import pytest
from cylestio_monitor.capture.anthropic import AnthropicInstrumentor
from cylestio_monitor.capture.openai import OpenAIInstrumentor


@pytest.fixture
def hooked(monitor):
    instrumentors = (AnthropicInstrumentor(), OpenAIInstrumentor())
    for instrumentor in instrumentors:
        instrumentor.instrument(skip_dep_check=True)
    yield monitor
    for instrumentor in instrumentors:
        instrumentor.uninstrument()


@pytest.fixture(scope="session", autouse=True)
def _imports_are_left_alone():
    """Streams that are dropped ask for hundreds of collections, none of which is about what was imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
